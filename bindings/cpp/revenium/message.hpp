// A reply, the events of one that is streamed, and a call under way.
#ifndef REVENIUM_MESSAGE_HPP
#define REVENIUM_MESSAGE_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "error.hpp"
#include "handle.hpp"
#include "json.hpp"

namespace revenium {

/// A reply. Cheap to copy: copies share it, and any thread may read it, also after shutdown().
/// A moved-from message throws handle_error when it is read, one carried into a forked child forked_error.
class message {
 public:
  /// Takes over a result of the C library.
  explicit message(handle result) : result_(std::make_shared<const handle>(std::move(result))) {}

  /// The text blocks, joined; "" if there are none.
  std::string text() const { return read(revenium_result_text); }
  /// The body of the reply; of a streamed one, the whole message put together.
  std::string json() const { return read(revenium_result_json); }
  /// The provider's request id, "" if it gave none.
  std::string request_id() const { return read(revenium_result_request_id); }
  /// JSON about the call rather than its content; see revenium_result_info().
  std::string info() const { return read(revenium_result_info); }
  /// "end_turn", "max_tokens", "tool_use", ...; "" on a reply that was stopped.
  std::string stop_reason() const { return detail::unquoted(detail::member(info(), "stop_reason")); }
  revenium::usage usage() const noexcept { return detail::read_usage(native()); }
  /// False: the caller's own function stopped the stream; text() and usage() hold what had come until then.
  bool complete() const noexcept { return revenium_result_code(native()) == REVENIUM_OK; }

  /// For the C functions. Lives as long as any copy of this message.
  revenium_result native() const noexcept { return result_ ? result_->get() : 0; }

 private:
  std::string read(detail::text_reader reader) const {
    const std::string_view text = detail::read(reader, native());
    if (text.data() == nullptr) {
      const int code = revenium_result_code(native());
      detail::check(code < 0 ? code : REVENIUM_E_HANDLE, "This message cannot be read");
    }
    return std::string(text);
  }

  std::shared_ptr<const handle> result_;
};

/// A call under way, to cancel it by. A plain number: copy it freely, keep it as long as you like.
class call {
 public:
  call() noexcept = default;
  explicit call(revenium_call number) noexcept : number_(number) {}

  /// Asks the call to end; from any thread, any number of times. Returns at once. The call still reports its one result:
  /// cancelled, or how it ended if that was sooner. Once it has ended this does nothing.
  void cancel() const noexcept {
    if (number_ != 0) revenium_call_cancel(number_);
  }
  /// Reads no more of its events from the network, until resume(); those that have arrived still come. For one who reads
  /// many calls from a queue and keeps the frames of a slow one. Returns at once; twice, or too late, is fine.
  void pause() const noexcept {
    if (number_ != 0) revenium_call_pause(number_);
  }
  /// Undoes pause().
  void resume() const noexcept {
    if (number_ != 0) revenium_call_resume(number_);
  }
  /// JSON of what is known so far, from the provider's first answer on; "" when the call is gone.
  std::string info() const { return std::string(detail::read(revenium_result_info, number_)); }

  revenium_call native() const noexcept { return number_; }
  friend bool operator==(call a, call b) noexcept { return a.number_ == b.number_; }
  friend bool operator!=(call a, call b) noexcept { return a.number_ != b.number_; }

 private:
  revenium_call number_ = 0;
};

enum class event_kind : std::int32_t {
  /// A type newer than this library.
  other = REVENIUM_EVENT_OTHER,
  message_start = REVENIUM_EVENT_MESSAGE_START,
  content_block_start = REVENIUM_EVENT_CONTENT_BLOCK_START,
  content_block_delta = REVENIUM_EVENT_CONTENT_BLOCK_DELTA,
  content_block_stop = REVENIUM_EVENT_CONTENT_BLOCK_STOP,
  message_delta = REVENIUM_EVENT_MESSAGE_DELTA,
  message_stop = REVENIUM_EVENT_MESSAGE_STOP,
  ping = REVENIUM_EVENT_PING,
};

/// One streamed event. Its views last until the handler returns, in a range until the next event is asked for.
class event {
 public:
  event() noexcept = default;
  event(event_kind kind, std::string_view json, std::string_view text, revenium::call from) noexcept
      : kind_(kind), json_(json), text_(text), call_(from) {}

  event_kind kind() const noexcept { return kind_; }
  /// The event as the provider sent it.
  std::string_view json() const noexcept { return json_; }
  /// The new text of a text delta, else "".
  std::string_view text() const noexcept { return text_; }
  /// The call it belongs to, to cancel it; none in stream(body, function), which stops by returning false.
  revenium::call call() const noexcept { return call_; }

 private:
  event_kind kind_ = event_kind::other;
  std::string_view json_, text_;
  revenium::call call_;
};

namespace detail {

inline event event_of(const revenium_event& raw) noexcept {
  return event(static_cast<event_kind>(raw.kind), std::string_view(raw.json, raw.json_len),
               raw.text == nullptr ? std::string_view() : std::string_view(raw.text, raw.text_len), call(raw.call));
}

/// The new text of a text delta that is there as JSON only.
inline std::string text_of(event_kind kind, std::string_view json) {
  if (kind != event_kind::content_block_delta) return {};
  const std::string_view delta = member(json, "delta");
  return member(delta, "type") == "\"text_delta\"" ? unquoted(member(delta, "text")) : std::string();
}

/// How a call ended.
inline outcome<message> outcome_of(handle result, int code) {
  if (code != REVENIUM_OK) return failure::of(result, code);
  return message(std::move(result));
}

}  // namespace detail
}  // namespace revenium

#endif
