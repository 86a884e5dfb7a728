// Results without callbacks: a queue for an event loop, and a stream as a range.
#ifndef REVENIUM_QUEUE_HPP
#define REVENIUM_QUEUE_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "error.hpp"
#include "handle.hpp"
#include "message.hpp"
#include "scope.hpp"

namespace revenium {

enum class frame_kind : std::int32_t {
  event = REVENIUM_FRAME_EVENT,
  /// The last one of its call.
  result = REVENIUM_FRAME_RESULT,
  /// The text of a log line; code() is its level.
  log = REVENIUM_FRAME_LOG,
  /// The report of one failed or dropped delivery.
  metering = REVENIUM_FRAME_METERING,
  /// The provider has answered: JSON of "http_status", "headers", "provider"; code() is the status.
  head = REVENIUM_FRAME_HEAD,
};

/// What a queue brought. Its views last until the function that got it returns.
class frame {
 public:
  frame(const revenium_frame& header, std::string_view body) noexcept : header_(header), body_(body) {}
  frame(frame&& other) noexcept = default;
  frame& operator=(frame&& other) noexcept = default;

  frame_kind kind() const noexcept { return static_cast<frame_kind>(header_.frame); }
  /// What the call was submitted with.
  std::uint64_t tag() const noexcept { return header_.tag; }
  /// None for log lines and metering reports.
  revenium::call call() const noexcept { return revenium::call(header_.call); }
  /// By kind: the event's kind, the result's code, the log level, the HTTP status.
  int code() const noexcept { return header_.code; }
  std::string_view body() const noexcept { return body_; }
  event_kind event() const noexcept { return static_cast<event_kind>(header_.code); }
  /// The new text of a text delta, else "".
  std::string text() const {
    return kind() == frame_kind::event ? detail::text_of(event(), body_) : std::string();
  }
  /// How the call ended; of a result frame, once. Otherwise a handle error.
  outcome<message> result() {
    if (!owned_) return failure(REVENIUM_E_HANDLE);
    return detail::outcome_of(std::move(owned_), header_.code);
  }

 private:
  friend class queue;
  revenium_frame header_;
  std::string_view body_;
  handle owned_;
};

/// Where events and results of any number of calls arrive. Several threads may submit; one at a time reads.
/// Destroying it cancels what is under way. Not copyable; move it only while nobody uses it.
/// A moved-from queue throws handle_error.
class queue {
 public:
  queue() : state_(std::make_unique<state>()) {
    detail::ready();
    revenium_queue made = 0;
    const int code = revenium_queue_new(&made);
    handle owned(made);  // a queue, or the result that says why there is none
    detail::check(code, owned);
    state_->queue = std::move(owned);
  }

  /// Begins a call. Its events, if the body says `"stream": true`, and its result come with `tag`.
  revenium::call submit(std::string_view body, std::uint64_t tag, const metadata& scope = metadata::of_thread()) {
    return begin([&](revenium_queue to, revenium_call* made) {
      return revenium_messages_submit(body.data(), body.size(), scope.native(), to, tag, made);
    });
  }

  /// Asks Revenium for something, as platform_call() does. Its answer comes with `tag`: the json() of a result.
  revenium::call submit_platform(const std::string& operation, std::string_view params, std::uint64_t tag) {
    return begin([&](revenium_queue to, revenium_call* made) {
      return revenium_platform_submit(operation.c_str(), params.data(), params.size(), to, tag, made);
    });
  }

  /// Hands every frame that is there to `on_frame(frame)`, in order; waits up to `timeout` for the first one.
  /// False: none came in time. With timeout 0 it never waits and may be used inside a callback.
  /// If `on_frame` throws, the frames read along with that one and not handed over yet come with the next read.
  template <class OnFrame>
  bool read(OnFrame&& on_frame, std::chrono::milliseconds timeout = forever) {
    state& s = here();
    if (s.at == s.used && !fill(timeout)) return false;
    while (s.at < s.used) {
      frame each = next();
      on_frame(each);
    }
    return true;
  }

  /// A non-blocking socket that turns readable when frames may have come. Yours to close: on Windows, where it is a SOCKET,
  /// with closesocket(). When it is readable, drop its bytes and read() with timeout 0 until it says false.
  int wake_fd() const {
    std::int32_t fd = -1;
    detail::check(revenium_queue_wake_fd(here().queue.get(), &fd), "The queue has no wake descriptor");
    return fd;
  }

  /// Also sends log lines up to `level` and reports of failed deliveries here; REVENIUM_TOPIC_*, 0 for neither.
  void subscribe(std::uint32_t topics, log_level level = log_level::info) {
    detail::check(revenium_queue_subscribe(here().queue.get(), topics, static_cast<std::int32_t>(level)),
                  "The queue could not subscribe");
  }

  revenium_queue native() const noexcept { return state_ ? state_->queue.get() : 0; }

 private:
  struct state {
    handle queue;
    std::mutex mutex;
    /// The calls whose result was not read yet.
    std::unordered_set<revenium_call> open;
    /// Frames are aligned to 8.
    std::vector<std::uint64_t> buffer = std::vector<std::uint64_t>(64 * 1024 / sizeof(std::uint64_t));
    std::size_t at = 0, used = 0;

    ~state() {
      queue = handle();
      for (const revenium_call call : open) revenium_release(call);
    }
  };

  state& here() const {
    if (!state_) detail::check(REVENIUM_E_HANDLE, "This queue was moved from");
    return *state_;
  }

  /// Begins a call by `submit(queue, &made)`.
  template <class Submit>
  revenium::call begin(Submit&& submit) {
    revenium_call made = 0;
    // Until the call is noted, no reader may find its result.
    state& s = here();
    const std::lock_guard<std::mutex> lock(s.mutex);
    const auto place = s.open.emplace(made).first;
    const int code = submit(s.queue.get(), &made);
    handle owner(made);
    if (code < 0) {
      s.open.erase(place);
      detail::check(code, owner);
    }
    auto node = s.open.extract(place);
    node.value() = owner.detach();
    s.open.insert(std::move(node));
    return revenium::call(made);
  }

  bool fill(std::chrono::milliseconds timeout) {
    state& s = here();
    for (;;) {
      s.at = s.used = 0;
      std::size_t used = 0;
      const int code = revenium_queue_read(s.queue.get(), s.buffer.data(), s.buffer.size() * sizeof(std::uint64_t),
                                           detail::milliseconds(timeout), &used);
      if (code == REVENIUM_OK) {
        s.used = used;
        return true;
      }
      if (code == REVENIUM_EMPTY) return false;
      if (code != REVENIUM_E_BUFFER) detail::check(code, "The queue could not be read");
      s.buffer.resize(used / sizeof(std::uint64_t) + 1);
    }
  }

  frame next() {
    state& s = here();
    const char* at = reinterpret_cast<const char*>(s.buffer.data()) + s.at;
    revenium_frame header;
    std::memcpy(&header, at, sizeof header);
    s.at += header.size;
    frame out(header, std::string_view(at + sizeof header, header.body_size));
    if (out.kind() == frame_kind::result) {
      const std::lock_guard<std::mutex> lock(s.mutex);
      if (s.open.erase(header.call) != 0) out.owned_ = handle(header.call);
    }
    return out;
  }

  friend class event_stream;
  std::unique_ptr<state> state_;
};

/// A streamed reply as an input range. The call has begun; leaving the loop and dropping this cancels it.
///
///     for (const revenium::event& e : client.messages.stream(body)) std::cout << e.text();
///
/// Waits for the next event, and throws how the call failed, in begin() and in ++. One pass, one thread at a time.
/// Moving it leaves its iterators valid; a moved-from one throws handle_error.
class event_stream {
  struct state {
    revenium::queue queue;
    revenium::call call;
    revenium::event current;
    std::string text;
    bool begun = false, ended = false;
    /// There when ended.
    std::unique_ptr<outcome<revenium::message>> result;
  };

 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = event;
    using difference_type = std::ptrdiff_t;
    using pointer = const event*;
    using reference = const event&;

    iterator() noexcept = default;
    reference operator*() const noexcept { return state_->current; }
    pointer operator->() const noexcept { return &state_->current; }
    iterator& operator++() {
      advance(*state_);
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_end() == b.at_end(); }
    friend bool operator!=(const iterator& a, const iterator& b) noexcept { return !(a == b); }

   private:
    friend class event_stream;
    explicit iterator(state* s) noexcept : state_(s) {}
    bool at_end() const noexcept { return state_ == nullptr || state_->ended; }
    state* state_ = nullptr;
  };

  event_stream(std::string_view body, const metadata& scope) : state_(std::make_unique<state>()) {
    state_->call = state_->queue.submit(streamed(body), 0, scope);
  }

  /// The event at hand; the first one when called for the first time.
  iterator begin() {
    state& s = here();
    if (!std::exchange(s.begun, true)) advance(s);
    return iterator(&s);
  }
  iterator end() noexcept { return iterator(); }

  /// Reads the rest and gives the whole message put together. Throws how the call failed.
  revenium::message message() {
    state& s = here();
    s.begun = true;
    while (!s.ended) advance(s);
    return s.result->value();
  }
  /// Asks the call to end; the range then ends by cancelled_error.
  void cancel() const noexcept { call().cancel(); }
  /// The call, to cancel it from another thread.
  revenium::call call() const noexcept { return state_ ? state_->call : revenium::call(); }

 private:
  state& here() const {
    if (!state_) detail::check(REVENIUM_E_HANDLE, "This stream was moved from");
    return *state_;
  }

  /// `body` with `"stream": true`, which alone makes a submitted call a stream.
  static std::string streamed(std::string_view body) {
    const std::string_view said = detail::member(body, "stream");
    if (said.empty()) return detail::with_member(body, "stream", true);
    return std::string(body).replace(static_cast<std::size_t>(said.data() - body.data()), said.size(), "true");
  }

  static void advance(state& s) {
    while (!s.ended) {
      if (s.queue.state_->at == s.queue.state_->used) fill(s);
      if (s.ended) break;
      frame next = s.queue.next();
      if (next.kind() == frame_kind::event) {
        s.text = next.text();
        s.current = event(next.event(), next.body(), s.text, s.call);
        return;
      }
      if (next.kind() == frame_kind::result) end(s, next.result());
    }
    s.result->value();
  }

  static void fill(state& s) {
    try {
      s.queue.fill(forever);
    } catch (const closed_error& error) {
      // The library was shut down: the call has ended, but its last frames can no longer be read.
      end(s, error.failure());
    }
  }

  static void end(state& s, outcome<revenium::message> result) {
    s.result = std::make_unique<outcome<revenium::message>>(std::move(result));
    s.ended = true;
  }

  std::unique_ptr<state> state_;
};

}  // namespace revenium

#endif
