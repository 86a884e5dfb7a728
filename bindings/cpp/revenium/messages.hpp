// The Messages API: waiting, streaming, with callbacks, as futures and for coroutines.
#ifndef REVENIUM_MESSAGES_HPP
#define REVENIUM_MESSAGES_HPP

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "error.hpp"
#include "handle.hpp"
#include "library.hpp"
#include "message.hpp"
#include "queue.hpp"
#include "scope.hpp"

#if defined(__cpp_impl_coroutine) && __has_include(<coroutine>)
#include "await.hpp"
#define REVENIUM_HAS_COROUTINES 1
#endif
#if defined(__has_include) && __has_include(<stop_token>)
#include <stop_token>
#endif

namespace revenium {

/// What a started call reports to, on threads of the library: for one call never two at a time and in order. Keep both
/// short, they hold up other calls; a function that waits throws would_deadlock_error there.
struct handlers {
  /// Each event. May be empty; else the request is streamed. What it throws ends the call and becomes its failure.
  std::function<void(const event&)> on_event;
  /// How the call ended; exactly once, last. What it throws has nobody to go to and ends the program, as in a std::thread.
  std::function<void(outcome<message>)> on_done;
};

namespace detail {

/// Who is told about a started call. Lives from the start until the call has reported.
struct observer {
  virtual ~observer() = default;
  virtual void on_event(const event&) {}
  virtual void on_done(outcome<message>) noexcept = 0;
  /// What on_event threw.
  std::exception_ptr thrown;
};

inline std::int32_t forward_event(void* user, const revenium_event* raw) noexcept {
  auto* self = static_cast<observer*>(user);
  try {
    self->on_event(event_of(*raw));
    return 0;
  } catch (...) {
    self->thrown = std::current_exception();
    return 1;
  }
}

inline void forward_done(void* user, revenium_result result) noexcept {
  const std::unique_ptr<observer> self(static_cast<observer*>(user));
  // start() took the handle, and left it to this function.
  handle owned(result);
  const int code = revenium_result_code(result);
  outcome<message> ended = attempt<message>([&] { return outcome_of(std::move(owned), code); });
  if (self->thrown && !ended) ended = ended.error().caused_by(self->thrown);
  self->on_done(std::move(ended));
}

/// Begins a call that reports to `told`. Throws what keeps it from beginning; then nothing is told.
inline call begin(std::string_view body, const metadata& scope, std::unique_ptr<observer> told, bool events) {
  ready();
  revenium_call made = 0;
  const int code = revenium_messages_start(body.data(), body.size(), scope.native(), events ? forward_event : nullptr,
                                           forward_done, told.get(), &made);
  if (code < 0) check(code, handle(made));
  told.release();  // NOLINT: forward_done() has it, and may have ended it already.
  return call(made);
}

struct to_handlers final : observer {
  explicit to_handlers(handlers h) : given(std::move(h)) {}
  void on_event(const event& e) override { given.on_event(e); }
  void on_done(outcome<message> ended) noexcept override {
    if (given.on_done) given.on_done(std::move(ended));
  }
  handlers given;
};

struct to_promise final : observer {
  void on_done(outcome<message> ended) noexcept override {
    try {
      promise.set_value(std::move(ended).value());
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  }
  std::promise<message> promise;
};

#if defined(REVENIUM_HAS_COROUTINES)
struct to_coroutine final : observer {
  explicit to_coroutine(std::shared_ptr<await_state> s) : state(std::move(s)) {}
  void on_done(outcome<message> ended) noexcept override {
    state->ended.emplace(std::move(ended));
    void* waiting = state->arrived.exchange(state->end_mark(), std::memory_order_acq_rel);
    if (waiting != nullptr && waiting != state->end_mark()) std::coroutine_handle<>::from_address(waiting).resume();
  }
  std::shared_ptr<await_state> state;
};
#endif

/// A function of the caller's between two calls into C: it must not throw through them.
template <class OnEvent>
struct guarded_function {
  OnEvent& on_event;
  std::exception_ptr thrown;
  bool stopped = false;

  static std::int32_t forward(void* user, const revenium_event* raw) noexcept {
    auto* self = static_cast<guarded_function*>(user);
    try {
      if constexpr (std::is_convertible_v<std::invoke_result_t<OnEvent&, const event&>, bool>) {
        self->stopped = !static_cast<bool>(std::invoke(self->on_event, event_of(*raw)));
      } else {
        std::invoke(self->on_event, event_of(*raw));
      }
    } catch (...) {
      self->thrown = std::current_exception();
    }
    return self->stopped || self->thrown ? 1 : 0;
  }
};

}  // namespace detail

/// POST /v1/messages. Stateless: copy it, share it, call it from any thread.
///
/// body: the request as JSON, sent on as it is, except for "usage_metadata" (fields for this one call) and "revenium"
/// (choices for this call, such as "timeout_ms"); see revenium.h. It is copied before a function returns.
/// scope: metadata for the call; by default the scopes of the calling thread.
class messages_api {
 public:
  /// Sends a message and waits for the reply. Throws how the call failed.
  message create(std::string_view body, const metadata& scope = metadata::of_thread()) const {
    return try_create(body, scope).value();
  }

  /// The same without exceptions.
  outcome<message> try_create(std::string_view body, const metadata& scope = metadata::of_thread()) const noexcept {
    return detail::attempt<message>([&] {
      detail::ready();
      revenium_result result = 0;
      const int code = revenium_messages_create(body.data(), body.size(), scope.native(), &result);
      return detail::outcome_of(handle(result), code);
    });
  }

  /// Streams the reply to `on_event(const event&)` on this very thread, in order; gives the message put together.
  ///
  /// `on_event` returns nothing, or false to stop the stream; then the message is what had come (complete() is false).
  /// What it throws stops the stream too, and comes out of here.
  template <class OnEvent, std::enable_if_t<std::is_invocable_v<OnEvent&, const event&>, int> = 0>
  message stream(std::string_view body, OnEvent&& on_event, const metadata& scope = metadata::of_thread()) const {
    return try_stream(body, on_event, scope).value();
  }

  /// The same without exceptions; one of `on_event` is the failure's cause().
  template <class OnEvent, std::enable_if_t<std::is_invocable_v<OnEvent&, const event&>, int> = 0>
  outcome<message> try_stream(std::string_view body, OnEvent&& on_event,
                              const metadata& scope = metadata::of_thread()) const noexcept {
    return detail::attempt<message>([&]() -> outcome<message> {
      using guarded = detail::guarded_function<std::remove_reference_t<OnEvent>>;
      detail::ready();
      guarded guard{on_event, nullptr};
      revenium_result result = 0;
      const int code =
          revenium_messages_stream(body.data(), body.size(), scope.native(), guarded::forward, &guard, &result);
      handle owned(result);
      if (guard.thrown) return failure::of(owned, REVENIUM_E_CANCELLED).caused_by(guard.thrown);
      if (guard.stopped && code == REVENIUM_E_CANCELLED) return message(std::move(owned));
      return detail::outcome_of(std::move(owned), code);
    });
  }

  /// Streams the reply as a range of events, read as fast as it is iterated; leaving the loop cancels the call.
  event_stream stream(std::string_view body, const metadata& scope = metadata::of_thread()) const {
    return event_stream(body, scope);
  }

  /// Begins a call whose reply, or failure, the future gives. Dropping the future lets the call go on.
  std::future<message> create_async(std::string_view body, const metadata& scope = metadata::of_thread()) const {
    auto told = std::make_unique<detail::to_promise>();
    std::future<message> future = told->promise.get_future();
    try {
      detail::begin(body, scope, std::move(told), false);
    } catch (const api_error&) {
      std::promise<message> refused;
      refused.set_exception(std::current_exception());
      return refused.get_future();
    }
    return future;
  }

  /// Begins a call that reports to `to`, and returns at once. Throws what keeps it from beginning; then nothing is
  /// reported.
  call start(std::string_view body, handlers to, const metadata& scope = metadata::of_thread()) const {
    const bool events = static_cast<bool>(to.on_event);
    return detail::begin(body, scope, std::make_unique<detail::to_handlers>(std::move(to)), events);
  }

#if defined(REVENIUM_HAS_COROUTINES)
  /// Begins a call to `co_await`: gives the reply or throws how the call failed. Destroying it unawaited cancels the call.
  ///
  /// The coroutine goes on on a thread of the library, where waiting throws would_deadlock_error: hop to an executor of
  /// your own before long work. A revenium::scope must not span a co_await; pass metadata.
  awaitable co_create(std::string_view body, const metadata& scope = metadata::of_thread()) const {
    auto shared = std::make_shared<detail::await_state>();
    const call begun = detail::begin(body, scope, std::make_unique<detail::to_coroutine>(shared), false);
    return awaitable(std::move(shared), begun);
  }
#endif

#if defined(__cpp_lib_jthread)
  /// create() that `token` can end, with cancelled_error.
  message create(std::string_view body, std::stop_token token, const metadata& scope = metadata::of_thread()) const {
    queue results;
    const call begun = results.submit(body, 0, scope);
    const std::stop_callback cancel(std::move(token), [begun] { begun.cancel(); });
    std::optional<outcome<message>> ended;
    while (!ended) {
      results.read([&](frame& each) {
        if (each.kind() == frame_kind::result) ended = each.result();
      });
    }
    return std::move(*ended).value();
  }
#endif
};

/// The Messages API, for programs that want no client object.
inline messages_api messages() noexcept { return {}; }

/// The shape of Anthropic's own SDKs: `client.messages.create(body)`. Copies are free; nothing opens or closes with it.
struct client {
  messages_api messages{};
};

}  // namespace revenium

#endif
