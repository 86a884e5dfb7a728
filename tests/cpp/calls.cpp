// Messages: every way to call, every way to fail, and what can be read afterwards.
#ifndef _WIN32
#include <sys/wait.h>
#endif

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "support.hpp"

using test::ask;
using test::at;
using test::plan;
using test::text_at;
using test::thrown_by;

static const revenium::client client;

TEST(create_gives_the_reply) {
  const revenium::message reply = client.messages.create(ask("hi \"there\" \xC3\xA9"));
  CHECK_EQUAL(reply.text(), "You said: hi \"there\" \xC3\xA9");
  CHECK_EQUAL(text_at(reply.json(), "model"), "claude-sonnet-5-5");
  CHECK_EQUAL(reply.request_id().rfind("req_sandbox_", 0), 0u);
  CHECK_EQUAL(at(reply.info(), "http_status"), "200");
  CHECK_EQUAL(text_at(reply.info(), "provider"), "anthropic");
  CHECK_EQUAL(reply.stop_reason(), "end_turn");
  CHECK(reply.complete());
  const revenium::usage usage = reply.usage();
  CHECK_EQUAL(std::to_string(usage.input_tokens), at(reply.json(), "usage.input_tokens"));
  CHECK_EQUAL(std::to_string(usage.output_tokens), at(reply.json(), "usage.output_tokens"));
  CHECK_EQUAL(usage.cache_read_input_tokens, 0);
  CHECK_EQUAL(usage.cache_creation_input_tokens, 0);
  CHECK(usage.metered);
  CHECK(revenium::flush(std::chrono::seconds(10)));
  const std::string record = test::record();
  CHECK_EQUAL(text_at(record, "transactionId"), text_at(reply.json(), "id"));
  CHECK_EQUAL(at(record, "outputTokenCount"), std::to_string(usage.output_tokens));
}

TEST(the_request_is_sent_as_it_is) {
  const std::string body = ask("x", R"("temperature": 0.10000, "top_k": 1e1, "usage_metadata": {"agent": "a"})");
  client.messages.create(body);
  const std::string raw = text_at(test::items(test::http("GET", "/sandbox/requests")).front(), "raw");
  CHECK_EQUAL(at(raw, "temperature"), "0.10000");
  CHECK_EQUAL(at(raw, "top_k"), "1e1");
  CHECK(raw.find("usage_metadata") == std::string::npos);
}

TEST(messages_without_a_client) { CHECK_EQUAL(revenium::messages().create(ask("a")).text(), "You said: a"); }

TEST(a_message_is_shared_by_its_copies) {
  std::optional<revenium::message> first = client.messages.create(ask("shared"));
  revenium::message copy = *first, assigned = client.messages.create(ask("other"));
  assigned = copy;
  first.reset();
  const revenium::message moved = std::move(copy);
  CHECK_EQUAL(moved.text(), "You said: shared");
  CHECK_EQUAL(assigned.text(), "You said: shared");
  copy = assigned;
  CHECK_EQUAL(copy.text(), "You said: shared");
}

TEST(a_moved_from_message_throws) {
  revenium::message reply = client.messages.create(ask("x"));
  const revenium::message taken = std::move(reply);
  thrown_by<revenium::handle_error>([&] { (void)reply.text(); });
  CHECK(!reply.complete());
  CHECK_EQUAL(reply.usage().input_tokens, -1);
}

TEST(handles_release_once) {
  revenium::handle empty, one(client.messages.create(ask("x")).native());  // Stale by now.
  CHECK(!empty);
  CHECK_EQUAL(revenium_result_code(one.get()), REVENIUM_E_HANDLE);
  revenium::scope s{{"agent", "x"}};
  revenium_scope made = 0;
  CHECK_EQUAL(revenium_scope_new(REVENIUM_SCOPE_NONE, nullptr, 0, 0, &made), REVENIUM_OK);
  revenium::handle owner(made), second = std::move(owner);
  CHECK(!owner);
  owner = std::move(second);
  CHECK_EQUAL(owner.get(), made);
  revenium::handle& alias = owner;
  owner = std::move(alias);
  CHECK_EQUAL(owner.get(), made);
  owner = revenium::handle();
  CHECK_EQUAL(revenium_release(made), REVENIUM_E_HANDLE);
}

// ---- errors ----

template <class Exception>
static void status(int status, int code) {
  const auto error = thrown_by<Exception>([&] { client.messages.create(plan("status=" + std::to_string(status))); });
  CHECK_EQUAL(error.code(), code);
  CHECK_EQUAL(error.status(), status);
  CHECK_EQUAL(error.request_id().rfind("req_sandbox_", 0), 0u);
  CHECK_EQUAL(text_at(error.json(), "type"), "error");
  CHECK_EQUAL(text_at(error.info(), "code"), revenium::code_name(code));
  // What the provider says of the request, and not what it says of itself.
  const bool quoted = std::string(error.what()).find(" It says: \"") != std::string::npos;
  CHECK_EQUAL(quoted, status < 500 && code != REVENIUM_E_API);
  CHECK(!error.retry_after());
}

TEST(every_status_has_its_class) {
  status<revenium::bad_request_error>(400, REVENIUM_E_BAD_REQUEST);
  status<revenium::authentication_error>(401, REVENIUM_E_AUTHENTICATION);
  status<revenium::permission_denied_error>(403, REVENIUM_E_PERMISSION_DENIED);
  status<revenium::not_found_error>(404, REVENIUM_E_NOT_FOUND);
  status<revenium::conflict_error>(409, REVENIUM_E_CONFLICT);
  status<revenium::request_too_large_error>(413, REVENIUM_E_REQUEST_TOO_LARGE);
  status<revenium::unprocessable_error>(422, REVENIUM_E_UNPROCESSABLE);
  status<revenium::rate_limit_error>(429, REVENIUM_E_RATE_LIMIT);
  status<revenium::internal_server_error>(500, REVENIUM_E_INTERNAL_SERVER);
  status<revenium::internal_server_error>(503, REVENIUM_E_INTERNAL_SERVER);
  status<revenium::overloaded_error>(529, REVENIUM_E_OVERLOADED);
  status<revenium::status_error>(418, REVENIUM_E_API);
}

template <class Exception>
static void raised(int code) {
  const auto error = thrown_by<Exception>([&] { revenium::failure(code).raise(); });
  CHECK_EQUAL(error.code(), code);
  CHECK_EQUAL(std::string(error.what()), revenium::code_name(code));
}

TEST(every_code_has_its_class) {
  using namespace revenium;
  raised<internal_error>(REVENIUM_E_INTERNAL);
  raised<argument_error>(REVENIUM_E_ARGUMENT);
  raised<utf8_error>(REVENIUM_E_UTF8);
  raised<json_error>(REVENIUM_E_JSON);
  raised<handle_error>(REVENIUM_E_HANDLE);
  raised<config_error>(REVENIUM_E_CONFIG);
  raised<already_error>(REVENIUM_E_ALREADY);
  raised<closed_error>(REVENIUM_E_CLOSED);
  raised<would_deadlock_error>(REVENIUM_E_WOULD_DEADLOCK);
  raised<timeout_error>(REVENIUM_E_TIMEOUT);
  raised<cancelled_error>(REVENIUM_E_CANCELLED);
  raised<buffer_error>(REVENIUM_E_BUFFER);
  raised<busy_error>(REVENIUM_E_BUSY);
  raised<forked_error>(REVENIUM_E_FORKED);
  raised<unsupported_error>(REVENIUM_E_UNSUPPORTED);
  raised<connection_error>(REVENIUM_E_CONNECTION);
  raised<stream_error>(REVENIUM_E_STREAM);
  raised<aws_error>(REVENIUM_E_AWS);
  raised<status_error>(REVENIUM_E_API);
  raised<api_error>(-999);
  static_assert(std::is_base_of_v<status_error, rate_limit_error> && std::is_base_of_v<api_error, status_error>);
  static_assert(std::is_base_of_v<internal_server_error, overloaded_error>);
  static_assert(std::is_base_of_v<std::exception, api_error> && std::is_nothrow_copy_constructible_v<rate_limit_error>);
}

TEST(retry_after_is_told_in_milliseconds) {
  const auto error = thrown_by<revenium::rate_limit_error>([] { client.messages.create(plan("status=429; retry-after=7")); });
  CHECK_EQUAL(error.retry_after().value().count(), 7000);
}

TEST(requests_that_are_refused) {
  thrown_by<revenium::json_error>([] { client.messages.create("{"); });
  thrown_by<revenium::json_error>([] { client.messages.create("[]"); });
  thrown_by<revenium::utf8_error>([] { client.messages.create("{\"a\": \"\xFF\"}"); });
  thrown_by<revenium::argument_error>([] { client.messages.create(std::string_view()); });
  thrown_by<revenium::json_error>([] { client.messages.create(""); });
  thrown_by<revenium::json_error>([] { client.messages.stream("{", [](const revenium::event&) {}); });
  thrown_by<revenium::json_error>([] { client.messages.stream("{"); });
  thrown_by<revenium::json_error>([] { client.messages.start("{", {}); });
  thrown_by<revenium::json_error>([] { client.messages.create_async("{").get(); });
  thrown_by<revenium::json_error>([] { revenium::queue().submit("{", 1); });
  CHECK(test::requests().empty());
}

TEST(failures_on_the_way) {
  thrown_by<revenium::connection_error>(
      [] { client.messages.create(ask("x", R"("revenium": {"api_key": "k", "base_url": "http://127.0.0.1:9", "max_retries": 0})")); });
  thrown_by<revenium::timeout_error>([] {
    client.messages.create(ask("x", R"("revenium": {"timeout_ms": 50, "headers": {"x-sandbox": "end=stall"}})"));
  });
}

TEST(too_many_calls_are_refused) {
  revenium::init(R"({"max_in_flight": 1})");
  const revenium::event_stream busy = client.messages.stream(plan("end=stall", R"("stream": true)"));
  thrown_by<revenium::busy_error>([] { client.messages.create(ask("x")); });
}

TEST(an_error_outlives_everything) {
  std::optional<revenium::rate_limit_error> kept;
  kept = thrown_by<revenium::rate_limit_error>([] { client.messages.create(plan("status=429")); });
  revenium::shutdown();
  const revenium::rate_limit_error copy = *kept;
  kept.reset();
  CHECK_EQUAL(text_at(copy.json(), "error.type"), "rate_limit_error");
}

TEST(try_create_does_not_throw) {
  static_assert(noexcept(client.messages.try_create("")));
  revenium::outcome<revenium::message> good = client.messages.try_create(ask("x"));
  CHECK(good && good.has_value());
  CHECK_EQUAL(good.code(), REVENIUM_OK);
  CHECK_EQUAL(good->text(), "You said: x");
  CHECK_EQUAL((*good).text(), good.value().text());
  const revenium::message taken = std::move(good).value();
  CHECK_EQUAL(taken.text(), "You said: x");

  const revenium::outcome<revenium::message> bad = client.messages.try_create(plan("status=404"));
  CHECK(!bad);
  CHECK_EQUAL(bad.code(), REVENIUM_E_NOT_FOUND);
  CHECK_EQUAL(bad.error().status(), 404);
  thrown_by<revenium::not_found_error>([&] { (void)bad.value(); });
  CHECK_EQUAL(client.messages.try_create("nonsense").code(), REVENIUM_E_JSON);
}

// ---- streams on this thread ----

TEST(stream_calls_on_this_thread_in_order) {
  std::string text;
  std::vector<revenium::event_kind> kinds;
  const auto here = std::this_thread::get_id();
  const auto reply = client.messages.stream(ask("one two three"), [&](const revenium::event& e) {
    CHECK(std::this_thread::get_id() == here);
    CHECK(e.call() == revenium::call());
    text += e.text();
    kinds.push_back(e.kind());
    CHECK_EQUAL(text_at(e.json(), "type").empty(), false);
  });
  CHECK_EQUAL(text, "You said: one two three");
  CHECK_EQUAL(reply.text(), text);
  CHECK(reply.complete());
  CHECK_EQUAL(kinds.front(), revenium::event_kind::message_start);
  CHECK_EQUAL(kinds.back(), revenium::event_kind::message_stop);
  CHECK(kinds.size() > 8);
  CHECK(reply.usage().output_tokens > 0);
}

TEST(a_lambda_stops_the_stream) {
  int seen = 0;
  const auto reply = client.messages.stream(plan("deltas=100000; gap_ms=1"), [&](const revenium::event& e) {
    seen += !e.text().empty();
    return seen < 3;
  });
  CHECK_EQUAL(seen, 3);
  CHECK(!reply.complete());
  CHECK_EQUAL(reply.text().rfind("token token token ", 0), 0u);
  CHECK(revenium::flush(std::chrono::seconds(10)));
  CHECK_EQUAL(text_at(test::record(), "stopReason"), "CANCELLED");
}

TEST(an_exception_of_a_lambda_comes_out) {
  struct mine {
    int number;
  };
  int seen = 0;
  try {
    client.messages.stream(plan("deltas=100000; gap_ms=1"), [&](const revenium::event&) {
      if (++seen == 4) throw mine{42};
    });
    throw test::failed("it did not throw");
  } catch (const mine& caught) {
    CHECK_EQUAL(caught.number, 42);
  }
  CHECK_EQUAL(seen, 4);
  const auto ended = client.messages.try_stream(plan("deltas=9"), [](const revenium::event&) { throw mine{1}; });
  CHECK_EQUAL(ended.code(), REVENIUM_E_CANCELLED);
  CHECK(ended.error().cause() != nullptr);
  // Thrown at the last event of all, when the stream is over anyway.
  try {
    client.messages.stream(ask("x"), [&](const revenium::event& e) {
      if (e.kind() == revenium::event_kind::message_stop) throw mine{7};
    });
    throw test::failed("it did not throw");
  } catch (const mine& caught) {
    CHECK_EQUAL(caught.number, 7);
  }
}

TEST(a_lambda_may_call_again) {
  int nested = 0;
  client.messages.stream(ask("x"), [&](const revenium::event&) {
    if (nested++ == 0) CHECK_EQUAL(client.messages.create(ask("inner")).text(), "You said: inner");
  });
  CHECK(nested > 1);
}

TEST(a_stream_that_breaks_keeps_its_text) {
  const auto error = thrown_by<revenium::stream_error>(
      [] { client.messages.stream(plan("deltas=3; end=cut"), [](const revenium::event&) {}); });
  CHECK_EQUAL(error.text(), "token token token ");
  CHECK(error.usage().input_tokens > 0);
  const auto overloaded = thrown_by<revenium::overloaded_error>(
      [] { client.messages.stream(plan("deltas=2; error=overloaded_error"), [](const revenium::event&) {}); });
  CHECK_EQUAL(overloaded.text(), "token token ");
}

// ---- streams as ranges ----

TEST(a_range_gives_every_event) {
  std::string text, kinds;
  revenium::event_stream stream = client.messages.stream(ask("caf\xC3\xA9 \xF0\x9F\x8E\x89 \"q\"", R"("stream": true)"));
  for (const revenium::event& e : stream) {
    text += e.text();
    kinds += std::to_string(static_cast<int>(e.kind()));
  }
  CHECK_EQUAL(text, "You said: caf\xC3\xA9 \xF0\x9F\x8E\x89 \"q\"");
  CHECK_EQUAL(kinds.substr(0, 4), "1273");
  CHECK_EQUAL(stream.message().text(), text);
  CHECK(stream.begin() == stream.end());
}

TEST(a_range_streams_without_being_told_to) {
  int deltas = 0;
  for (const auto& e : client.messages.stream(ask("one two"))) deltas += e.kind() == revenium::event_kind::content_block_delta;
  CHECK_EQUAL(deltas, 4);
  // Nor does it matter what the body says about it.
  deltas = 0;
  for (const auto& e : client.messages.stream(ask("one two", R"("stream": false)"))) deltas += !e.text().empty();
  CHECK_EQUAL(deltas, 4);
}

TEST(breaking_out_of_a_range_cancels) {
  const long disconnects = test::counter("client_disconnects");
  int seen = 0;
  for (const auto& e : client.messages.stream(plan("deltas=1000000; gap_ms=1"))) {
    if (!e.text().empty() && ++seen == 3) break;
  }
  test::wait_for("client_disconnects", disconnects + 1);
  CHECK(revenium::flush(std::chrono::seconds(10)));
  CHECK_EQUAL(text_at(test::records(1).front(), "stopReason"), "CANCELLED");
}

TEST(an_exception_in_the_loop_cancels) {
  const long disconnects = test::counter("client_disconnects");
  try {
    for (const auto& e : client.messages.stream(plan("deltas=1000000; gap_ms=1"))) throw std::string(e.json());
    throw test::failed("it did not throw");
  } catch (const std::string& json) {
    CHECK_EQUAL(text_at(json, "type"), "message_start");
  }
  test::wait_for("client_disconnects", disconnects + 1);
}

TEST(a_range_can_be_cancelled_from_elsewhere) {
  revenium::event_stream stream = client.messages.stream(plan("deltas=1000000; gap_ms=1"));
  std::thread other;
  thrown_by<revenium::cancelled_error>([&] {
    for (const auto& e : stream) {
      if (!other.joinable() && !e.text().empty()) other = std::thread([call = stream.call()] { call.cancel(); });
    }
  });
  other.join();
  thrown_by<revenium::cancelled_error>([&] { (void)stream.message(); });
}

TEST(a_range_throws_how_the_call_failed) {
  thrown_by<revenium::not_found_error>([] { client.messages.stream(plan("status=404")).begin(); });
  std::string text;
  const auto error = thrown_by<revenium::stream_error>([&] {
    for (const auto& e : client.messages.stream(plan("deltas=3; end=cut"))) text += e.text();
  });
  CHECK_EQUAL(text, "token token token ");
  CHECK_EQUAL(error.text(), text);
}

TEST(a_range_reads_events_larger_than_its_buffer) {
  const std::string big = plan("deltas=2; delta_bytes=300000");
  std::size_t bytes = 0;
  revenium::event_stream stream = client.messages.stream(big);
  for (const auto& e : stream) bytes += e.text().size();
  CHECK_EQUAL(bytes, 600000u);
  CHECK_EQUAL(stream.message().text().size(), 600000u);
}

TEST(streams_move) {
  std::vector<revenium::event_stream> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(client.messages.stream(ask(std::to_string(i))));
  std::swap(streams[0], streams[4]);
  auto first = streams[1].begin();
  revenium::event_stream moved = std::move(streams[1]);
  ++first;
  CHECK_EQUAL(first->kind(), revenium::event_kind::content_block_start);
  CHECK_EQUAL(moved.message().text(), "You said: 1");
  CHECK_EQUAL(streams[0].message().text(), "You said: 4");
  streams[2] = std::move(moved);
  thrown_by<revenium::handle_error>([&] { (void)moved.message(); });
  thrown_by<revenium::handle_error>([&] { (void)moved.begin(); });
  moved.cancel();
  CHECK_EQUAL(streams[2].message().text(), "You said: 1");
}

TEST(dropping_an_unread_stream) {
  { const auto unread = client.messages.stream(plan("deltas=1000000; gap_ms=1")); }
  CHECK_EQUAL(client.messages.create(ask("x")).text(), "You said: x");
}

// ---- without waiting ----

TEST(futures) {
  std::vector<std::future<revenium::message>> futures;
  for (int i = 0; i < 50; ++i) futures.push_back(client.messages.create_async(ask(std::to_string(i))));
  for (int i = 0; i < 50; ++i) CHECK_EQUAL(futures[static_cast<std::size_t>(i)].get().text(), "You said: " + std::to_string(i));
  auto bad = client.messages.create_async(plan("status=404"));
  thrown_by<revenium::not_found_error>([&] { (void)bad.get(); });
}

TEST(a_dropped_future_lets_the_call_go_on) {
  (void)client.messages.create_async(ask("dropped"));
  CHECK_EQUAL(test::records(1).size(), 1u);
}

/// What handlers told, to wait for.
struct told {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<revenium::outcome<revenium::message>> ended;
  int times = 0;

  void operator()(revenium::outcome<revenium::message> how) {
    const std::lock_guard<std::mutex> lock(mutex);
    ended.emplace(std::move(how));
    ++times;
    changed.notify_all();
  }
  revenium::outcome<revenium::message>& wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return ended.has_value(); });
    return *ended;
  }
};

TEST(start_tells_its_handlers) {
  told done;
  std::string text;
  const revenium::call begun = client.messages.start(ask("one two"), {[&](const revenium::event& e) {
                                                                       CHECK(e.call() != revenium::call());
                                                                       text += e.text();
                                                                     },
                                                                     std::ref(done)});
  CHECK(begun != revenium::call());
  CHECK_EQUAL(done.wait().value().text(), "You said: one two");
  CHECK_EQUAL(text, "You said: one two");
  begun.cancel();  // Too late, and no harm.
  told whole;
  client.messages.start(ask("whole"), {nullptr, std::ref(whole)});
  CHECK_EQUAL(whole.wait().value().text(), "You said: whole");
  client.messages.start(ask("nobody listens"), {});
  CHECK(revenium::shutdown());
  CHECK_EQUAL(done.times, 1);
}

TEST(start_can_be_cancelled) {
  told done;
  const revenium::call begun = client.messages.start(plan("deltas=1000000; gap_ms=1"), {[](const revenium::event& e) {
                                                                                          if (!e.text().empty()) e.call().cancel();
                                                                                        },
                                                                                        std::ref(done)});
  thrown_by<revenium::cancelled_error>([&] { (void)done.wait().value(); });
  CHECK_EQUAL(done.wait().error().text().rfind("token ", 0), 0u);
  begun.cancel();
  revenium::call().cancel();
}

TEST(an_exception_of_a_handler_becomes_the_failure) {
  told done;
  client.messages.start(plan("deltas=1000000; gap_ms=1"),
                        {[](const revenium::event&) { throw std::out_of_range("mine"); }, std::ref(done)});
  const auto error = thrown_by<std::out_of_range>([&] { (void)done.wait().value(); });
  CHECK_EQUAL(std::string(error.what()), "mine");
  CHECK_EQUAL(done.wait().code(), REVENIUM_E_CANCELLED);
}

TEST(waiting_in_a_callback_is_refused) {
  std::promise<int> create, stream, flush, shutdown;
  client.messages.start(ask("x"), {nullptr, [&](revenium::outcome<revenium::message>) {
                                     create.set_value(client.messages.try_create(ask("y")).code());
                                     stream.set_value(client.messages.try_stream(ask("y"), [](const revenium::event&) {}).code());
                                     const auto caught = [](auto&& body) {
                                       try {
                                         body();
                                         return 0;
                                       } catch (const revenium::would_deadlock_error& error) {
                                         return error.code();
                                       }
                                     };
                                     flush.set_value(caught([] { revenium::flush(revenium::forever); }));
                                     shutdown.set_value(caught([] { revenium::shutdown(); }));
                                   }});
  CHECK_EQUAL(create.get_future().get(), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_EQUAL(stream.get_future().get(), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_EQUAL(flush.get_future().get(), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_EQUAL(shutdown.get_future().get(), REVENIUM_E_WOULD_DEADLOCK);
}

TEST(handlers_own_what_they_hold) {
  const auto held = std::make_shared<int>(1);
  {
    told done;
    client.messages.start(ask("x"), {[held](const revenium::event&) {}, [held, &done](auto how) { done(std::move(how)); }});
    CHECK(done.wait().has_value());
  }
  thrown_by<revenium::json_error>([&] { client.messages.start("{", {[held](const revenium::event&) {}, nullptr}); });
  CHECK(revenium::shutdown());
  CHECK_EQUAL(held.use_count(), 1);
}

// ---- queues ----

TEST(a_queue_serves_many_calls) {
  revenium::queue queue;
  std::map<std::uint64_t, std::string> texts;
  std::set<std::uint64_t> heads;
  for (std::uint64_t i = 0; i < 20; ++i) queue.submit(ask(std::to_string(i), i % 2 ? R"("stream": true)" : ""), i);
  std::map<std::uint64_t, revenium::message> replies;
  while (replies.size() < 20) {
    queue.read([&](revenium::frame& f) {
      if (f.kind() == revenium::frame_kind::event) texts[f.tag()] += f.text();
      if (f.kind() == revenium::frame_kind::head) {
        heads.insert(f.tag());
        CHECK_EQUAL(f.code(), 200);
        CHECK_EQUAL(at(f.body(), "http_status"), "200");
      }
      if (f.kind() == revenium::frame_kind::result) {
        CHECK_EQUAL(f.code(), REVENIUM_OK);
        replies.emplace(f.tag(), f.result().value());
        CHECK_EQUAL(f.result().code(), REVENIUM_E_HANDLE);  // It was taken.
      }
    });
  }
  CHECK_EQUAL(texts.size(), 10u);
  CHECK_EQUAL(heads.size(), 10u);
  for (auto& [tag, reply] : replies) {
    CHECK_EQUAL(reply.text(), "You said: " + std::to_string(tag));
    if (tag % 2) CHECK_EQUAL(texts[tag], reply.text());
  }
  CHECK(!queue.read([](revenium::frame&) {}, std::chrono::milliseconds(0)));
}

TEST(a_queue_wakes_and_cancels) {
  revenium::queue queue;
  const int fd = queue.wake_fd();
  const revenium::call call = queue.submit(plan("end=stall", R"("stream": true)"), 1);
  call.cancel();
  char dropped[16];
  int code = 0;
  for (;;) {
    if (recv(fd, dropped, sizeof dropped, 0) < 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    while (queue.read([&](revenium::frame& f) { code = f.code(); }, std::chrono::milliseconds(0))) continue;
    if (code == REVENIUM_E_CANCELLED) break;
  }
  close(fd);
}

TEST(a_throwing_reader_loses_no_frame) {
  revenium::queue queue;
  queue.submit(ask("a b c d e f", R"("stream": true)"), 1);
  std::string text;
  bool ended = false;
  while (!ended) {
    try {
      queue.read([&](revenium::frame& f) {
        text += f.text();
        ended = f.kind() == revenium::frame_kind::result;
        throw 1;
      });
    } catch (int) {
    }
  }
  CHECK_EQUAL(text, "You said: a b c d e f");
}

TEST(dropping_a_queue_cancels_and_releases) {
  const long disconnects = test::counter("client_disconnects");
  revenium_call left = 0;
  {
    revenium::queue queue;
    left = queue.submit(plan("deltas=1000000; gap_ms=1", R"("stream": true)"), 1).native();
    queue.read([](revenium::frame&) {});
    revenium::queue moved = std::move(queue);
    moved.submit(ask("x"), 2);
    thrown_by<revenium::handle_error>([&] { queue.submit(ask("x"), 3); });
    thrown_by<revenium::handle_error>([&] { queue.read([](revenium::frame&) {}); });
  }
  test::wait_for("client_disconnects", disconnects + 1);
  CHECK_EQUAL(revenium_release(left), REVENIUM_E_HANDLE);
}

TEST(a_queue_brings_log_and_delivery_reports) {
  revenium::init(R"({"spool_dir": "", "metering_max_retries": 0, "metadata": {"organizationName": ""}})");
  test::http("POST", "/sandbox/plan", R"({"path": "/meter/v2/ai/completions", "answers": [{"status": 400}]})");
  revenium::queue queue;
  queue.subscribe(REVENIUM_TOPIC_LOG | REVENIUM_TOPIC_METERING, revenium::log_level::debug);
  queue.submit(ask("x"), 1);
  bool metering = false, log = false;
  while (!metering || !log) {
    CHECK(queue.read(
        [&](revenium::frame& f) {
          metering |= f.kind() == revenium::frame_kind::metering;
          log |= f.kind() == revenium::frame_kind::log && !f.body().empty();
        },
        std::chrono::seconds(20)));
  }
}

// ---- fork ----

// Not under the address sanitizer, whose allocator leaves its locks as the parent's threads held them (GCC 12).
#if !defined(__SANITIZE_ADDRESS__) && !defined(_WIN32)
TEST(a_forked_child_starts_over) {
  const revenium::message parents = client.messages.create(ask("parent"));
  const revenium::metadata scope{{"agent", "parent"}};
  const pid_t child = fork();
  if (child == 0) {
    int status = 1;
    try {
      thrown_by<revenium::forked_error>([&] { (void)parents.text(); });
      CHECK_EQUAL(client.messages.create(ask("child")).text(), "You said: child");
      CHECK(revenium::flush(std::chrono::seconds(10)));
      status = 0;
    } catch (const std::exception& error) {
      std::cerr << "child: " << error.what() << '\n';
    }
    _exit(status);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
  CHECK_EQUAL(parents.text(), "You said: parent");
}
#endif

// ---- C++20 ----

#if defined(__cpp_lib_jthread)
TEST(a_stop_token_ends_a_call) {
  std::stop_source source;
  CHECK_EQUAL(client.messages.create(ask("x"), source.get_token()).text(), "You said: x");
  std::jthread stopper([&] {
    test::wait_for("requests", 2);
    source.request_stop();
  });
  thrown_by<revenium::cancelled_error>([&] { client.messages.create(plan("end=stall"), source.get_token()); });
  thrown_by<revenium::cancelled_error>([&] { client.messages.create(plan("end=stall"), source.get_token()); });
}
#endif

#if defined(REVENIUM_HAS_COROUTINES)
/// A coroutine that tells its result through a promise.
struct task {
  struct promise_type {
    std::promise<std::string> told;
    task get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this), told.get_future()}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_value(std::string text) { told.set_value(std::move(text)); }
    void unhandled_exception() { told.set_exception(std::current_exception()); }
  };
  std::coroutine_handle<promise_type> suspended;
  std::future<std::string> told;
};

static task conversation(std::string first, std::string second) {
  const revenium::metadata scope{{"agent", "coroutine"}};
  const revenium::message one = co_await client.messages.co_create(first, scope);
  const revenium::message two = co_await client.messages.co_create(second, scope);
  co_return one.text() + " | " + two.text();
}

TEST(coroutines) {
  CHECK_EQUAL(conversation(ask("a"), ask("b")).told.get(), "You said: a | You said: b");
  for (const std::string& record : test::records(2)) CHECK_EQUAL(text_at(record, "agent"), "coroutine");
  thrown_by<revenium::not_found_error>([] { conversation(ask("a"), plan("status=404")).told.get(); });
  std::vector<task> many;
  for (int i = 0; i < 100; ++i) many.push_back(conversation(ask(std::to_string(i)), ask("b")));
  for (int i = 0; i < 100; ++i) {
    CHECK_EQUAL(many[static_cast<std::size_t>(i)].told.get(), "You said: " + std::to_string(i) + " | You said: b");
  }
}

TEST(awaiting_late_and_never) {
  const long disconnects = test::counter("client_disconnects");
  auto early = client.messages.co_create(ask("early"));
  while (!early.await_ready()) std::this_thread::yield();
  CHECK_EQUAL(early.await_resume().text(), "You said: early");
  {
    auto never = client.messages.co_create(plan("end=stall"));
    test::wait_for("requests", 2);
  }
  test::wait_for("client_disconnects", disconnects + 1);
  const task left = conversation(plan("end=stall"), ask("b"));
  test::wait_for("requests", 3);
  left.suspended.destroy();
  CHECK(revenium::shutdown());
}
#endif

TEST_MAIN
