// The library as a whole: start, end, state, log. One process each, because that is what these are about.
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "support.hpp"

using test::ask;
using test::at;
using test::plan;
using test::text_at;
using test::thrown_by;

static const revenium::client client;

static std::string source_of_a_record() {
  test::http("DELETE", "/sandbox/records");
  client.messages.create(ask("x"));
  CHECK(revenium::flush(std::chrono::seconds(10)));
  return text_at(test::record(), "middlewareSource");
}

TEST(the_version_is_the_librarys) {
  CHECK_EQUAL(revenium::version(), std::to_string(REVENIUM_VERSION_MAJOR) + "." + std::to_string(REVENIUM_VERSION_MINOR) + "." +
                                       std::to_string(REVENIUM_VERSION_PATCH));
  CHECK_EQUAL(std::string(revenium::code_name(REVENIUM_E_RATE_LIMIT)), "REVENIUM_E_RATE_LIMIT");
}

TEST(records_name_this_binding_without_init) { CHECK_EQUAL(source_of_a_record(), "revenium-anthropic-cpp"); }

TEST(a_scope_may_come_first) {
  revenium::scope s{{"agent", "x"}};
  CHECK_EQUAL(source_of_a_record(), "revenium-anthropic-cpp");
}

TEST(records_name_this_binding_after_init) {
  revenium::init();
  CHECK_EQUAL(source_of_a_record(), "revenium-anthropic-cpp");
}

TEST(settings_are_merged_with_the_name) {
  for (const char* config : {"", "{}", "{ }\n", R"({"max_retries": 1})", "{\"metadata\": {\"agent\": \"}\"}}  "}) {
    revenium::init(config);
    CHECK_EQUAL(source_of_a_record(), "revenium-anthropic-cpp");
    CHECK(revenium::shutdown());
  }
  revenium::init(R"({"middleware_source": "mine"})");
  CHECK_EQUAL(source_of_a_record(), "mine");
  CHECK(revenium::shutdown());
  revenium::init(R"({"metadata": {"middleware_source": "x"}})");
  CHECK_EQUAL(source_of_a_record(), "revenium-anthropic-cpp");
  CHECK(revenium::shutdown());
  setenv("REVENIUM_MIDDLEWARE_SOURCE", "from-environment", 1);
  revenium::init();
  CHECK_EQUAL(source_of_a_record(), "from-environment");
}

TEST(settings_of_c_code_stay) {
  CHECK_EQUAL(revenium_init("{\"middleware_source\": \"host\"}", REVENIUM_NTS, nullptr), REVENIUM_OK);
  CHECK_EQUAL(source_of_a_record(), "host");
  revenium::init();
  CHECK_EQUAL(source_of_a_record(), "host");
  CHECK(revenium::shutdown());
  CHECK_EQUAL(source_of_a_record(), "host");
  CHECK_EQUAL(revenium_shutdown(5000), REVENIUM_OK);
  thrown_by<revenium::closed_error>([] { client.messages.create(ask("x")); });
}

TEST(a_start_of_c_code_is_not_undone) {
  CHECK_EQUAL(revenium_init(nullptr, 0, nullptr), REVENIUM_OK);
  CHECK(revenium::shutdown());
  { revenium::library both(R"({"middleware_source": ""})"); }
  CHECK(revenium::shutdown());
  CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
  CHECK_EQUAL(revenium_shutdown(5000), REVENIUM_OK);
}

TEST(failures_leave_no_handle_and_tell_why) {
  revenium::init();
  const auto next = [] { return revenium::queue().native(); };
  const revenium_handle first = next();
  const auto refused = thrown_by<revenium::handle_error>([&] { revenium::detail::new_scope(first, {}, 0); });
  const revenium_handle last = next();
  CHECK_EQUAL(last - first, 2u);
  CHECK(revenium::shutdown());
  const auto closed = thrown_by<revenium::closed_error>([] { revenium::queue(); });
  for (revenium_handle h = first; h < last + 2; ++h) CHECK_EQUAL(revenium_result_code(h), REVENIUM_E_HANDLE);
  for (const std::string why : {refused.what(), closed.what()}) CHECK(why.find(' ') != std::string::npos);
}

TEST(a_shutdown_of_c_code_stays) {
  CHECK_EQUAL(revenium_init(nullptr, 0, nullptr), REVENIUM_OK);
  CHECK_EQUAL(revenium_shutdown(1000), REVENIUM_OK);
  thrown_by<revenium::closed_error>([] { client.messages.create(ask("x")); });
}

TEST(bad_settings_are_named) {
  const auto error = thrown_by<revenium::config_error>([] { revenium::init(R"({"max_retires": 1})"); });
  CHECK(std::string(error.what()).find("max_retires") != std::string::npos);
  for (const char* config : {"{", "x", "}", "[]", R"({"max_retries": 1,})"}) {
    thrown_by<revenium::json_error>([&] { revenium::init(config); });
  }
  thrown_by<revenium::config_error>([] { revenium::init(R"({"max_retries": "many"})"); });
  revenium::init();
  thrown_by<revenium::already_error>([] { revenium::init(R"({"max_retries": 5})"); });
  CHECK_EQUAL(source_of_a_record(), "revenium-anthropic-cpp");
}

TEST(a_missing_key_is_told_by_every_call) {
  unsetenv("ANTHROPIC_API_KEY");
  thrown_by<revenium::config_error>([] { client.messages.create(ask("x")); });
  thrown_by<revenium::config_error>([] { client.messages.stream(ask("x")); });
  CHECK_EQUAL(client.messages.try_create(ask("x")).code(), REVENIUM_E_CONFIG);
  setenv("ANTHROPIC_API_KEY", "sk-ant-late", 1);
  // The environment is read at most once a second.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (client.messages.try_create(ask("x")).code() == REVENIUM_E_CONFIG && std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
}

TEST(starts_are_counted) {
  revenium::init();
  revenium::init();
  CHECK(revenium::shutdown());
  CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
  CHECK(revenium::shutdown());
  thrown_by<revenium::closed_error>([] { client.messages.create(ask("x")); });
}

TEST(the_start_of_a_call_ends_with_the_first_shutdown) {
  client.messages.create(ask("x"));
  revenium::init();
  CHECK(revenium::shutdown());
  thrown_by<revenium::closed_error>([] { client.messages.create(ask("x")); });
  revenium::init();
  CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
  revenium::init();
  CHECK(revenium::shutdown());
  CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
}

TEST(many_threads_start_it_once) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i) threads.emplace_back([&] { good += client.messages.try_create(ask("x")).has_value(); });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(good.load(), 16);
  CHECK(revenium::shutdown());
  CHECK_EQUAL(client.messages.try_create(ask("x")).code(), REVENIUM_E_CLOSED);
}

TEST(use_after_shutdown) {
  const revenium::message kept = client.messages.create(ask("kept"));
  const revenium::metadata scope{{"agent", "x"}};
  revenium::queue queue;
  queue.submit(plan("end=stall"), 1);
  revenium::event_stream read = client.messages.stream(plan("deltas=1000000; gap_ms=1"));
  revenium::event_stream unread = client.messages.stream(plan("deltas=1000000; gap_ms=1"));
  auto at_event = read.begin();
  auto future = client.messages.create_async(plan("end=stall"));
  std::optional<revenium::scope> pushed;
  pushed.emplace(R"({"agent": "pushed"})");

  CHECK(revenium::shutdown());

  CHECK_EQUAL(kept.text(), "You said: kept");
  CHECK_EQUAL(at_event->kind(), revenium::event_kind::message_start);
  thrown_by<revenium::cancelled_error>([&] { (void)future.get(); });
  const auto ends = [](auto&& body) {
    try {
      body();
    } catch (const revenium::cancelled_error&) {
    } catch (const revenium::closed_error&) {
    }
  };
  ends([&] {
    while (at_event != read.end()) ++at_event;
    throw test::failed("a stream ended well");
  });
  ends([&] {
    (void)unread.message();
    throw test::failed("a stream ended well");
  });
  ends([&] { queue.read([](revenium::frame& f) { CHECK_EQUAL(f.code(), REVENIUM_E_CANCELLED); }, std::chrono::seconds(1)); });
  thrown_by<revenium::closed_error>([&] { client.messages.create(ask("x"), scope); });
  thrown_by<revenium::closed_error>([&] { client.messages.stream(ask("x"), [](const revenium::event&) {}); });
  thrown_by<revenium::closed_error>([&] { client.messages.stream(ask("x")); });
  thrown_by<revenium::closed_error>([&] { client.messages.create_async(ask("x")).get(); });
  thrown_by<revenium::closed_error>([&] { client.messages.start(ask("x"), {}); });
  thrown_by<revenium::closed_error>([&] { revenium::queue(); });
  thrown_by<revenium::closed_error>([&] { queue.submit(ask("x"), 1); });
  thrown_by<revenium::closed_error>([&] { revenium::metadata{{"agent", "x"}}; });
  thrown_by<revenium::closed_error>([&] { revenium::scope{{"agent", "x"}}; });
  thrown_by<revenium::closed_error>([&] { revenium::flush(std::chrono::milliseconds(1)); });
  CHECK(revenium::shutdown());
  CHECK(!revenium::is_initialized());
  thrown_by<revenium::closed_error>([] { (void)revenium::status(); });
  thrown_by<revenium::closed_error>([] { (void)revenium::status_json(); });
  pushed.reset();

  revenium::init();
  CHECK_EQUAL(client.messages.create(ask("again")).text(), "You said: again");
  CHECK_EQUAL(kept.text(), "You said: kept");
}

TEST(a_library_object_opens_and_closes) {
  {
    revenium::library outer(R"({"max_retries": 1})");
    revenium::library moved = std::move(outer);
    std::optional<revenium::library> held(std::move(moved));
    revenium::library back = std::move(*held);
    held.reset();
    CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
    revenium::library second;
    second = std::move(back);
    CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
  }
  thrown_by<revenium::closed_error>([] { client.messages.create(ask("x")); });
  // Nothing is lost: shutting down delivered both records.
  CHECK_EQUAL(test::records(2).size(), 2u);
}

TEST(objects_outlive_the_library) {
  std::optional<revenium::library> library(std::in_place);
  revenium::queue queue;
  queue.submit(ask("x", R"("stream": true)"), 1);
  revenium::event_stream stream = client.messages.stream(plan("deltas=1000000; gap_ms=1"));
  const revenium::message reply = client.messages.create(ask("x"));
  const revenium::metadata scope{{"agent", "x"}};
  revenium::scope pushed{{"agent", "y"}};
  library.reset();
}

TEST(shutdown_without_a_start) { CHECK(revenium::shutdown()); }

TEST(a_shutdown_that_comes_too_early_says_so) {
  test::http("POST", "/sandbox/plan", R"({"path": "/meter/v2/ai/completions", "answers": ["stall"]})");
  client.messages.create(ask("x"));
  CHECK(!revenium::flush(std::chrono::milliseconds(20)));
  CHECK(!revenium::shutdown(std::chrono::milliseconds(20)));
}

TEST(the_state_counts) {
  CHECK(revenium::is_initialized());
  client.messages.create(ask("x"));
  (void)client.messages.try_create(plan("status=404"));
  CHECK(revenium::flush(std::chrono::seconds(10)));
  const revenium::state state = revenium::status();
  CHECK(state.initialized);
  CHECK_EQUAL(state.provider, revenium::provider::anthropic);
  CHECK_EQUAL(state.metering, revenium::metering::on);
  CHECK_EQUAL(state.calls_started, 2);
  CHECK_EQUAL(state.calls_failed, 1);
  CHECK_EQUAL(state.calls_in_flight, 0);
  CHECK_EQUAL(state.events_delivered, 2);
  CHECK_EQUAL(state.events_pending, 0);
  CHECK_EQUAL(state.events_dropped, 0);
  CHECK_EQUAL(state.last_error, 0);
  const std::string json = revenium::status_json();
  CHECK_EQUAL(json.front(), '{');
  CHECK(json.find("revenium-anthropic-cpp") != std::string::npos);
  CHECK(json.find("sk-ant") == std::string::npos);
  CHECK(json.find("rev_mk") == std::string::npos);
}

TEST(calls_work_without_a_revenium_key) {
  unsetenv("REVENIUM_METERING_API_KEY");
  CHECK(!revenium::is_initialized());
  const revenium::message reply = client.messages.create(ask("x"));
  CHECK(!reply.usage().metered);
  CHECK_EQUAL(revenium::status().metering, revenium::metering::off);
}

TEST(log_lines_come_to_a_function) {
  std::mutex mutex;
  std::vector<std::string> lines;
  std::optional<int> nested;
  const auto held = std::make_shared<int>(0);
  revenium::set_log(
      [&, held](revenium::log_level level, std::string_view line) {
        const std::lock_guard<std::mutex> lock(mutex);
        CHECK(level >= revenium::log_level::error && level <= revenium::log_level::debug);
        lines.emplace_back(line);
        try {
          revenium::set_log({});
        } catch (const revenium::would_deadlock_error& error) {
          nested = error.code();
        }
        throw 1;  // Costs this line and nothing else.
      },
      revenium::log_level::debug);
  revenium::init(R"({"debug": true})");
  client.messages.create(ask("a secret prompt"));
  CHECK(revenium::flush(std::chrono::seconds(10)));
  revenium::set_log({});
  CHECK_EQUAL(held.use_count(), 1);
  CHECK(!lines.empty());
  CHECK_EQUAL(nested.value_or(0), REVENIUM_E_WOULD_DEADLOCK);
  for (const std::string& line : lines) CHECK(line.find("secret") == std::string::npos);
  const std::size_t before = lines.size();
  client.messages.create(ask("x"));
  CHECK_EQUAL(lines.size(), before);
}

TEST(log_functions_are_replaced_under_fire) {
  revenium::init(R"({"debug": true})");
  std::atomic<bool> stop{false};
  std::thread caller([&] {
    while (!stop) (void)client.messages.try_create(ask("x"));
  });
  std::vector<std::thread> setters;
  std::atomic<int> lines{0};
  for (int t = 0; t < 3; ++t) {
    setters.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto text = std::make_shared<std::string>(100, 'x');
        revenium::set_log([&, text](revenium::log_level, std::string_view) { lines += text->size() == 100; });
      }
    });
  }
  for (std::thread& thread : setters) thread.join();
  stop = true;
  caller.join();
  revenium::set_log({});
}

TEST_MAIN
