// Why something failed: as a value (failure), as an exception (api_error and its children), and outcome, which holds
// either a value or a failure.
#ifndef REVENIUM_ERROR_HPP
#define REVENIUM_ERROR_HPP

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "handle.hpp"
#include "json.hpp"

namespace revenium {

/// "REVENIUM_E_RATE_LIMIT" for REVENIUM_E_RATE_LIMIT; "REVENIUM_E_UNKNOWN" for a code that the library does not know.
inline const char* code_name(int code) noexcept { return revenium_code_name(code); }

/// Why something failed, as a value. Copies share what they hold, which outlives every handle and the library.
class failure {
 public:
  explicit failure(int code) noexcept : code_(code) {}
  failure(int code, std::string what) : code_(code) {
    auto facts = std::make_shared<details>();
    facts->what = std::move(what);
    facts_ = std::move(facts);
  }

  /// Reads why `result` failed; `otherwise` is the code when it holds none.
  static failure of(const handle& result, int otherwise) {
    const int code = revenium_result_code(result.get());
    if (code >= 0 || !result) return failure(otherwise);
    auto facts = std::make_shared<details>();
    facts->what = detail::read(revenium_result_message, result.get());
    facts->request_id = detail::read(revenium_result_request_id, result.get());
    facts->json = detail::read(revenium_result_json, result.get());
    facts->info = detail::read(revenium_result_info, result.get());
    facts->text = detail::read(revenium_result_text, result.get());
    facts->usage = detail::read_usage(result.get());
    facts->status = static_cast<int>(detail::integer(detail::member(facts->info, "http_status")).value_or(0));
    if (const auto delay = detail::integer(detail::member(facts->info, "retry_after_ms"))) {
      facts->retry_after = std::chrono::milliseconds(*delay);
    }
    failure out(code);
    out.facts_ = std::move(facts);
    return out;
  }

  /// REVENIUM_E_*.
  int code() const noexcept { return code_; }
  /// One sentence for a person. Never holds a key; quotes what the provider says of a refused request, as
  /// revenium_result_message() does.
  const char* what() const noexcept { return facts().what.empty() ? code_name(code_) : facts().what.c_str(); }
  /// The HTTP status of the provider's answer, 0 if there was none. 200 for an error that came inside a stream.
  int status() const noexcept { return facts().status; }
  /// The provider's request id, "" if it gave none.
  const std::string& request_id() const noexcept { return facts().request_id; }
  /// How long the provider asked to wait before the next try, if it did.
  std::optional<std::chrono::milliseconds> retry_after() const noexcept { return facts().retry_after; }
  /// `{"type":"error","error":{...}}`, byte for byte what the provider sent where it sent one; "" if there was no call.
  const std::string& json() const noexcept { return facts().json; }
  /// JSON about the call; see revenium_result_info().
  const std::string& info() const noexcept { return facts().info; }
  /// The text that had arrived when a stream broke off, else "".
  const std::string& text() const noexcept { return facts().text; }
  /// What the provider had reported until then.
  revenium::usage usage() const noexcept { return facts().usage; }

  /// The exception of a handler that ended the call, or null.
  std::exception_ptr cause() const noexcept { return cause_; }
  /// The same failure, caused by an exception of the caller's own.
  failure caused_by(std::exception_ptr cause) const {
    failure out = *this;
    out.cause_ = std::move(cause);
    return out;
  }

  /// Throws the exception class of code(), or the cause() if there is one.
  [[noreturn]] inline void raise() const;

 private:
  struct details {
    std::string what, request_id, json, info, text;
    int status = 0;
    std::optional<std::chrono::milliseconds> retry_after;
    revenium::usage usage;
  };
  const details& facts() const noexcept {
    static const details none;
    return facts_ ? *facts_ : none;
  }

  int code_;
  std::shared_ptr<const details> facts_;
  std::exception_ptr cause_;
};

/// Every exception that this binding throws by itself, and the class for codes newer than it.
class api_error : public std::exception {
 public:
  explicit api_error(revenium::failure why) noexcept : why_(std::move(why)) {}

  int code() const noexcept { return why_.code(); }
  const char* what() const noexcept override { return why_.what(); }
  int status() const noexcept { return why_.status(); }
  const std::string& request_id() const noexcept { return why_.request_id(); }
  std::optional<std::chrono::milliseconds> retry_after() const noexcept { return why_.retry_after(); }
  const std::string& json() const noexcept { return why_.json(); }
  const std::string& info() const noexcept { return why_.info(); }
  const std::string& text() const noexcept { return why_.text(); }
  revenium::usage usage() const noexcept { return why_.usage(); }
  /// The same as a value.
  const revenium::failure& failure() const noexcept { return why_; }

 private:
  revenium::failure why_;
};

/// The provider answered with an error. Its children are named as in Anthropic's own SDKs.
class status_error : public api_error {
 public:
  using api_error::api_error;
};

// Code, class, base: one line makes the class and its place in raise().
#define REVENIUM_EXCEPTIONS_(X)                                \
  X(REVENIUM_E_INTERNAL, internal_error, api_error)            \
  X(REVENIUM_E_ARGUMENT, argument_error, api_error)            \
  X(REVENIUM_E_UTF8, utf8_error, api_error)                    \
  X(REVENIUM_E_JSON, json_error, api_error)                    \
  X(REVENIUM_E_HANDLE, handle_error, api_error)                \
  X(REVENIUM_E_CONFIG, config_error, api_error)                \
  X(REVENIUM_E_ALREADY, already_error, api_error)              \
  X(REVENIUM_E_CLOSED, closed_error, api_error)                \
  X(REVENIUM_E_WOULD_DEADLOCK, would_deadlock_error, api_error) \
  X(REVENIUM_E_TIMEOUT, timeout_error, api_error)              \
  X(REVENIUM_E_CANCELLED, cancelled_error, api_error)          \
  X(REVENIUM_E_BUFFER, buffer_error, api_error)                \
  X(REVENIUM_E_BUSY, busy_error, api_error)                    \
  X(REVENIUM_E_FORKED, forked_error, api_error)                \
  X(REVENIUM_E_UNSUPPORTED, unsupported_error, api_error)      \
  X(REVENIUM_E_CONNECTION, connection_error, api_error)        \
  X(REVENIUM_E_STREAM, stream_error, api_error)                \
  X(REVENIUM_E_AWS, aws_error, api_error)                      \
  X(REVENIUM_E_BAD_REQUEST, bad_request_error, status_error)   \
  X(REVENIUM_E_AUTHENTICATION, authentication_error, status_error) \
  X(REVENIUM_E_PERMISSION_DENIED, permission_denied_error, status_error) \
  X(REVENIUM_E_NOT_FOUND, not_found_error, status_error)       \
  X(REVENIUM_E_CONFLICT, conflict_error, status_error)         \
  X(REVENIUM_E_REQUEST_TOO_LARGE, request_too_large_error, status_error) \
  X(REVENIUM_E_UNPROCESSABLE, unprocessable_error, status_error) \
  X(REVENIUM_E_RATE_LIMIT, rate_limit_error, status_error)     \
  X(REVENIUM_E_INTERNAL_SERVER, internal_server_error, status_error) \
  X(REVENIUM_E_OVERLOADED, overloaded_error, internal_server_error)

#define REVENIUM_EXCEPTION_CLASS_(code, name, base) \
  class name : public base {                        \
   public:                                          \
    using base::base;                               \
  };
REVENIUM_EXCEPTIONS_(REVENIUM_EXCEPTION_CLASS_)
#undef REVENIUM_EXCEPTION_CLASS_

inline void failure::raise() const {
  if (cause_) std::rethrow_exception(cause_);
#define REVENIUM_EXCEPTION_CASE_(code, name, base) \
  case code: throw name(*this);
  switch (code_) {
    REVENIUM_EXCEPTIONS_(REVENIUM_EXCEPTION_CASE_)
    case REVENIUM_E_API: throw status_error(*this);
    default: throw api_error(*this);
  }
#undef REVENIUM_EXCEPTION_CASE_
}
#undef REVENIUM_EXCEPTIONS_

/// A value or the reason why there is none: what a function gives that does not throw.
template <class T>
class [[nodiscard]] outcome {
 public:
  outcome(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : held_(std::move(value)) {}
  outcome(failure why) noexcept : held_(std::move(why)) {}

  bool has_value() const noexcept { return std::holds_alternative<T>(held_); }
  explicit operator bool() const noexcept { return has_value(); }
  /// REVENIUM_OK, or the failure's code.
  int code() const noexcept { return has_value() ? REVENIUM_OK : error().code(); }

  /// The value; throws the exception class of the failure if there is none.
  T& value() & { return raise_unless_ok(), *std::get_if<T>(&held_); }
  const T& value() const& { return raise_unless_ok(), *std::get_if<T>(&held_); }
  T&& value() && { return raise_unless_ok(), std::move(*std::get_if<T>(&held_)); }

  /// The value, which must be there.
  T& operator*() & noexcept { return *std::get_if<T>(&held_); }
  const T& operator*() const& noexcept { return *std::get_if<T>(&held_); }
  T&& operator*() && noexcept { return std::move(*std::get_if<T>(&held_)); }
  T* operator->() noexcept { return std::get_if<T>(&held_); }
  const T* operator->() const noexcept { return std::get_if<T>(&held_); }

  /// The failure, which must be there.
  const failure& error() const noexcept { return *std::get_if<failure>(&held_); }

 private:
  void raise_unless_ok() const {
    if (!has_value()) error().raise();
  }
  std::variant<T, failure> held_;
};

namespace detail {

/// Throws for a C function that gives no result to explain its code.
inline void check(int code, const char* what) {
  if (code < 0) failure(code, std::string(what) + " (" + code_name(code) + ")").raise();
}

/// Throws for a C function that puts the reason into `result`.
inline void check(int code, const handle& result) {
  if (code < 0) failure::of(result, code).raise();
}

/// Runs `body`; what it throws becomes the failure. This is the edge between the throwing and the other half.
template <class T, class Body>
outcome<T> attempt(Body&& body) noexcept {
  try {
    return body();
  } catch (const api_error& error) {
    return error.failure();
  } catch (const std::bad_alloc&) {
    return failure(REVENIUM_E_INTERNAL);
  } catch (...) {
    return failure(REVENIUM_E_INTERNAL).caused_by(std::current_exception());
  }
}

}  // namespace detail
}  // namespace revenium

#endif
