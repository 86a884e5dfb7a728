// Calls that something else makes: metered as if this library had made them.
#ifndef REVENIUM_OBSERVED_HPP
#define REVENIUM_OBSERVED_HPP

#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "error.hpp"
#include "handle.hpp"
#include "json.hpp"
#include "library.hpp"
#include "scope.hpp"

namespace revenium {

/// What became of a recorded call.
struct recorded {
  /// False where metering is off, or where it was recorded before.
  bool metered = false;
  /// Of its record; empty if it left none.
  std::string transaction_id;
  revenium::usage usage;
};

namespace detail {

inline recorded recorded_of(const handle& result) {
  recorded out;
  out.usage = read_usage(result.get());
  out.metered = out.usage.metered;
  out.transaction_id = unquoted(member(read(revenium_result_info, result.get()), "transaction_id"));
  return out;
}

}  // namespace detail

/// Meters a call that is over and that this library did not make: `call` is the JSON object that revenium_record() takes.
/// Each record is one billable transaction at Revenium. Never waits for the network. Throws argument_error, json_error,
/// config_error or closed_error.
inline recorded record(std::string_view call, const metadata& scope = metadata::of_thread()) {
  return detail::recorded_of(detail::made([&](revenium_result* out) {
    return revenium_record(call.data(), call.size(), scope.native(), out);
  }));
}

/// A call that something else is making: its reply passes through write(), and its record is made by end(). One that ends
/// its life without is recorded as cancelled. Move-only. Writing and ending never throw: metering must not fail a call.
class tap {
 public:
  /// `request`: the request's body, or the object of revenium_tap_new(). Throws as record() does.
  explicit tap(std::string_view request, const metadata& scope = metadata::of_thread()) {
    tap_ = detail::made([&](revenium_tap* out) {
      return revenium_tap_new(request.data(), request.size(), scope.native(), out);
    });
  }

  /// More bytes of the reply's body, without its content coding.
  void write(std::string_view bytes) noexcept { revenium_tap_write(tap_.get(), bytes.data(), bytes.size()); }
  /// The reply came whole.
  void end() noexcept { revenium_tap_end(tap_.get(), nullptr, 0); }
  /// Or otherwise: `ending` is the object of revenium_tap_end(), such as R"({"status":529})". Malformed, it is recorded as
  /// cancelled.
  void end(std::string_view ending) noexcept { revenium_tap_end(tap_.get(), ending.data(), ending.size()); }

 private:
  handle tap_;
};

/// Meters one use of a tool: `event` is the JSON object that revenium_tool_event() takes. Each event is one billable
/// transaction at Revenium. Never waits for the network. Throws as record() does.
inline recorded tool_event(std::string_view event, const metadata& scope = metadata::of_thread()) {
  return detail::recorded_of(detail::made([&](revenium_result* out) {
    return revenium_tool_event(event.data(), event.size(), scope.native(), out);
  }));
}

/// Meters the use of a tool for as long as the object lives: how long it took, and that it failed where an exception ends it.
///
///     revenium::tool metered("search");
///
/// Neither copyable nor movable. Its end never throws: metering must not fail a tool.
class tool {
 public:
  explicit tool(std::string_view id, metadata scope = metadata::of_thread())
      : id_(id), scope_(std::move(scope)), exceptions_(std::uncaught_exceptions()) {}
  tool(const tool&) = delete;
  tool& operator=(const tool&) = delete;
  ~tool() {
    try {
      const auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun_);
      const bool failed = failed_ || std::uncaught_exceptions() > exceptions_;
      tool_event(json_object({{"toolId", id_}, {"durationMs", took.count()}, {"success", !failed}}), scope_);
    } catch (...) {
    }
  }
  /// It failed without an exception.
  void fail() noexcept { failed_ = true; }

 private:
  std::string id_;
  metadata scope_;
  int exceptions_;
  bool failed_ = false;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace revenium

#endif
