// Metadata: on whose behalf, for every way to say so, and never for somebody else.
#define NDEBUG  // A scope that ends on another thread is a mistake that debug builds stop at; here it must do no harm.
#include <atomic>
#include <optional>
#include <set>
#include <thread>

#include "support.hpp"

using test::ask;
using test::at;
using test::text_at;
using test::thrown_by;

static const revenium::client client;

/// The record of a call made now.
template <class... Scope>
static std::string record_of(const Scope&... scope) {
  test::http("DELETE", "/sandbox/records");
  client.messages.create(ask("x"), scope...);
  CHECK(revenium::flush(std::chrono::seconds(10)));
  return test::record();
}
template <class... Scope>
static std::string agent_of(const Scope&... scope) {
  return text_at(record_of(scope...), "agent");
}

TEST(a_value_goes_with_a_call) {
  const revenium::metadata scope{{"organizationName", "Acme"}, {"agent", "summarizer"}, {"responseQualityScore", 0.95},
                                 {"subscriber", {{"id", "u-1"}, {"credential", {{"name", "key"}, {"value", "key-7"}}}}}};
  const std::string record = record_of(scope);
  CHECK_EQUAL(text_at(record, "organizationName"), "Acme");
  CHECK_EQUAL(text_at(record, "agent"), "summarizer");
  CHECK_EQUAL(at(record, "responseQualityScore"), "0.95");
  CHECK_EQUAL(text_at(record, "subscriber.id"), "u-1");
  CHECK_EQUAL(text_at(record, "subscriber.credential.name"), "key");
  CHECK_EQUAL(text_at(record, "middlewareSource"), "revenium-anthropic-cpp");
  CHECK_EQUAL(at(test::requests().front(), "agent"), "");
}

TEST(values_build_on_each_other) {
  const revenium::metadata customer(R"({"organizationName": "Acme", "agent": "outer"})");
  revenium::metadata inner;
  {
    const revenium::metadata passing = customer.with({{"traceId", "t-1"}});
    inner = passing.with(R"({"agent": "inner"})");
  }
  const std::string record = record_of(inner);
  CHECK_EQUAL(text_at(record, "organizationName"), "Acme");
  CHECK_EQUAL(text_at(record, "traceId"), "t-1");
  CHECK_EQUAL(text_at(record, "agent"), "inner");
  CHECK_EQUAL(agent_of(customer), "outer");
}

TEST(every_way_to_call_takes_one) {
  const revenium::metadata scope{{"agent", "given"}};
  client.messages.create(ask("x"), scope);
  (void)client.messages.try_create(ask("x"), scope);
  client.messages.create(ask("x"), {{"agent", "given"}});
  client.messages.stream(ask("x"), [](const revenium::event&) {}, scope);
  client.messages.stream(ask("x"), [](const revenium::event&) {}, {{"agent", "given"}});
  for (const auto& e : client.messages.stream(ask("x"), scope)) (void)e;
  for (const auto& e : client.messages.stream(ask("x"), {{"agent", "given"}})) (void)e;
  client.messages.create_async(ask("x"), scope).get();
  client.messages.start(ask("x"), {}, scope);
  revenium::queue queue;
  queue.submit(ask("x"), 1, scope);
  queue.read([](revenium::frame&) {});
  for (const std::string& record : test::records(10)) CHECK_EQUAL(text_at(record, "agent"), "given");
}

TEST(scopes_nest_in_blocks) {
  CHECK_EQUAL(agent_of(), "");
  {
    revenium::scope outer{{"agent", "outer"}, {"organizationName", "Acme"}};
    CHECK_EQUAL(agent_of(), "outer");
    {
      revenium::scope inner(R"({"agent": "inner"})");
      const std::string record = record_of();
      CHECK_EQUAL(text_at(record, "agent"), "inner");
      CHECK_EQUAL(text_at(record, "organizationName"), "Acme");
      CHECK_EQUAL(agent_of(revenium::metadata()), "");
      CHECK_EQUAL(agent_of(revenium::metadata{{"agent", "explicit"}}), "explicit");
      CHECK_EQUAL(at(record_of(revenium::metadata{{"agent", "x"}}), "organizationName"), "");
    }
    CHECK_EQUAL(agent_of(), "outer");
    const revenium::metadata captured = revenium::metadata::of_thread().with({{"traceId", "t"}});
    std::thread([&] {
      CHECK_EQUAL(agent_of(), "");
      CHECK_EQUAL(agent_of(captured), "outer");
    }).join();
    revenium::scope instead(revenium::metadata{{"agent", "instead"}});
    CHECK_EQUAL(at(record_of(), "organizationName"), "");
    CHECK_EQUAL(agent_of(), "instead");
  }
  CHECK_EQUAL(agent_of(), "");
}

TEST(an_exception_leaves_the_scope) {
  try {
    revenium::scope inside{{"agent", "inside"}};
    client.messages.create("{");
  } catch (const revenium::json_error&) {
  }
  CHECK_EQUAL(agent_of(), "");
}

TEST(scopes_end_in_any_order) {
  std::optional<revenium::scope> first, second, third;
  first.emplace(R"({"agent": "first"})");
  second.emplace(R"({"agent": "second"})");
  third.emplace(R"({"agent": "third"})");
  first.reset();
  CHECK_EQUAL(agent_of(), "third");
  third.reset();
  CHECK_EQUAL(agent_of(), "second");
  second.reset();
  CHECK_EQUAL(agent_of(), "");
}

TEST(a_scope_that_ends_elsewhere_is_left) {
  std::optional<revenium::scope> strayed;
  strayed.emplace(R"({"agent": "strayed"})");
  CHECK_EQUAL(agent_of(), "strayed");
  std::thread([&] { strayed.reset(); }).join();
  CHECK_EQUAL(agent_of(), "");
  revenium::scope next{{"traceId", "t"}};
  CHECK_EQUAL(agent_of(), "");
}

TEST(c_code_may_push_in_between) {
  std::optional<revenium::scope> ours;
  ours.emplace(R"({"agent": "ours"})");
  const revenium::metadata theirs{{"agent", "theirs"}};
  CHECK_EQUAL(revenium_scope_push(theirs.native()), REVENIUM_OK);
  ours.reset();
  CHECK_EQUAL(agent_of(), "theirs");
  CHECK_EQUAL(revenium_scope_pop(theirs.native()), REVENIUM_OK);
  CHECK_EQUAL(agent_of(), "");
}

TEST(bad_metadata_is_refused) {
  thrown_by<revenium::json_error>([] { revenium::metadata(R"([1])"); });
  thrown_by<revenium::json_error>([] { revenium::scope(R"({"a")"); });
  thrown_by<revenium::utf8_error>([] { revenium::scope{{"agent", "\xFF"}}; });
  CHECK_EQUAL(agent_of(), "");
}

TEST(the_meter_mark_selects) {
  revenium::init(R"({"selective_metering": true})");
  const auto metered = [](auto&&... scope) { return client.messages.create(ask("x"), scope...).usage().metered; };
  CHECK(!metered());
  const revenium::metadata value{{"agent", "a"}};
  CHECK(!metered(value));
  CHECK(metered(value.metered()));
  CHECK(metered(value.metered().with({{"traceId", "t"}})));
  {
    revenium::meter mark;
    CHECK(metered());
    revenium::scope inside{{"agent", "inside"}};
    CHECK(metered());
  }
  CHECK(!metered());
  revenium::meter with{{"agent", "with"}};
  CHECK(metered());
  CHECK(revenium::flush(std::chrono::seconds(10)));
  std::multiset<std::string> agents;
  for (const std::string& record : test::records(5)) agents.insert(text_at(record, "agent"));
  CHECK(agents == (std::multiset<std::string>{"", "a", "a", "inside", "with"}));
}

TEST(threads_never_see_each_other) {
  constexpr int threads = 16, calls = 25;
  const revenium::metadata shared{{"organizationName", "shared"}};
  std::vector<std::thread> running;
  std::atomic<int> failures{0};
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      try {
        for (int i = 0; i < calls; ++i) {
          const std::string mine = std::to_string(t) + "-" + std::to_string(i);
          // The metadata repeats what the model is told, so a record shows both.
          const std::string body = ask(mine, R"("usage_metadata": {"taskType": ")" + mine + "\"}");
          switch (i % 5) {
            case 0: {
              revenium::scope s{{"agent", mine}};
              client.messages.create(body);
              break;
            }
            case 1: {
              revenium::scope outer{{"agent", "wrong"}};
              revenium::scope inner{{"agent", mine}};
              client.messages.create_async(body).get();
              break;
            }
            case 2: client.messages.create(body, shared.with({{"agent", mine}})); break;
            case 3: {
              revenium::scope s{{"agent", mine}};
              for (const auto& e : client.messages.stream(body)) (void)e;
              break;
            }
            default: {
              revenium::scope s{{"agent", mine}};
              client.messages.stream(body, [](const revenium::event&) {});
            }
          }
        }
      } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        ++failures;
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  CHECK_EQUAL(failures.load(), 0);
  CHECK(revenium::flush(std::chrono::seconds(30)));
  std::set<std::string> seen;
  for (const std::string& record : test::records(threads * calls)) {
    const std::string agent = text_at(record, "agent");
    CHECK_EQUAL(agent, text_at(record, "taskType"));
    seen.insert(agent);
  }
  CHECK_EQUAL(seen.size(), static_cast<std::size_t>(threads * calls));
}

// ---- JSON ----

TEST(fields_become_json) {
  using revenium::json_object;
  CHECK_EQUAL(json_object({}), "{}");
  CHECK_EQUAL(json_object({{"a", "b"}}), R"({"a":"b"})");
  CHECK_EQUAL(json_object({{"n", 1}, {"d", 0.5}, {"t", true}, {"u", 18446744073709551615u}, {"i", -3L}}),
              R"({"n":1,"d":0.5,"t":true,"u":18446744073709551615,"i":-3})");
  CHECK_EQUAL(json_object({{"o", {{"x", "y"}, {"z", {{"w", 1}}}}}}), R"({"o":{"x":"y","z":{"w":1}}})");
  CHECK_EQUAL(json_object({{"l", revenium::value::list({1, "two", revenium::value::raw("null")})}}), R"({"l":[1,"two",null]})");
  CHECK_EQUAL(json_object({{"q\"", std::string("\x01\n\\\"")}}), R"({"q\"":"\u0001\n\\\""})");
  CHECK_EQUAL(json_object({{"bad", 0.0 / 0.0}}), R"({"bad":null})");
  CHECK_EQUAL(revenium::json_string(std::string_view("a\0b", 3)), R"("a\u0000b")");
}

TEST(members_are_found) {
  using revenium::detail::member;
  const std::string_view json = R"( { "a" : 1 , "b{" : "x,\"}" , "c" : { "a" : [ 2, {"z":3} ] } , "d":null,"e":[]} )";
  CHECK_EQUAL(member(json, "a"), "1");
  CHECK_EQUAL(member(json, "b{"), R"("x,\"}")");
  CHECK_EQUAL(member(json, "c"), R"({ "a" : [ 2, {"z":3} ] })");
  CHECK_EQUAL(member(json, "d"), "null");
  CHECK_EQUAL(member(json, "e"), "[]");
  CHECK_EQUAL(member(json, "z"), "");
  for (std::size_t cut = 0; cut < json.size(); ++cut) {
    // Nothing may be read beyond the end: the sanitizer watches an exact copy.
    const std::vector<char> copy(json.begin(), json.begin() + static_cast<std::ptrdiff_t>(cut));
    (void)member(std::string_view(copy.data(), copy.size()), "zzz");
  }
  for (const char* odd : {"", "{", "{}", "[]", "{\"a\"", "{\"a\":", "{\"a\":}", "\"", "{\"\\", "}", "{a:1}", "{\"a\" 1}"}) {
    CHECK_EQUAL(member(odd, "zzz"), "");
  }
}

TEST(members_are_added) {
  using revenium::detail::with_member;
  CHECK_EQUAL(with_member("{}", "a", 1), R"({"a":1})");
  CHECK_EQUAL(with_member("{ \n}\n", "a", true), "{ \n\"a\":true}\n");
  CHECK_EQUAL(with_member(R"({"b": {}} )", "a", "x"), R"({"b": {},"a":"x"} )");
  for (const char* odd : {"", " ", "}", "[]", "{", "x"}) CHECK_EQUAL(with_member(odd, "a", 1), odd);
}

TEST(strings_are_unquoted) {
  using revenium::detail::unquoted;
  CHECK_EQUAL(unquoted(R"("a\"\\\/\n\t\r\b\f\u00e9\u20ac\ud83c\udf89")"), "a\"\\/\n\t\r\b\f\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8E\x89");
  CHECK_EQUAL(unquoted(R"("\ud83cx\udf89")"), "\xEF\xBF\xBDx\xEF\xBF\xBD");
  CHECK_EQUAL(unquoted(R"("\ud83c\u0041")"), "\xEF\xBF\xBD" "A");
  CHECK_EQUAL(unquoted("12"), "");
  CHECK_EQUAL(unquoted("\""), "");
  CHECK_EQUAL(unquoted(R"("\u12")"), "u12");
  CHECK_EQUAL(unquoted(R"("x\")"), "x\\");
}

TEST_MAIN
