// The library as a whole: start, end, state, log.
#ifndef REVENIUM_LIBRARY_HPP
#define REVENIUM_LIBRARY_HPP

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "error.hpp"
#include "handle.hpp"
#include "json.hpp"

namespace revenium {

/// What usage records say about where they come from, unless `middleware_source` is set otherwise.
inline constexpr std::string_view middleware_source = "revenium-anthropic-cpp";

/// The version of the loaded library. Works before init() and after shutdown().
inline std::string_view version() noexcept { return revenium_version(); }

namespace detail {

/// Whether this binding has started the library, and how.
struct start_state {
  std::mutex mutex;
  std::atomic<bool> started{false};
  /// The starts that this binding has made and not undone.
  int inits = 0;
  /// One of them was made by the first call.
  bool implicitly = false;

  static start_state& get() {
    static start_state state;
    return state;
  }
};

/// Refuses to go on with a library of another ABI than this header was written for.
inline void check_abi() {
  const std::uint32_t found = revenium_abi_version();
  if (found == REVENIUM_ABI_VERSION) return;
  throw unsupported_error(failure(REVENIUM_E_UNSUPPORTED, "revenium.hpp was written for version " +
                                                              std::to_string(REVENIUM_ABI_VERSION) +
                                                              " of the librevenium ABI, but the library that was loaded has version " +
                                                              std::to_string(found) + "."));
}

/// `config` with the name of this binding, unless it or the environment names another.
inline std::string with_source(std::string_view config) {
  const char* given = std::getenv("REVENIUM_MIDDLEWARE_SOURCE");
  if ((given != nullptr && *given != '\0') || !member(config, "middleware_source").empty()) return std::string(config);
  return with_member(config.empty() ? "{}" : config, "middleware_source", middleware_source);
}

inline int init(std::string_view config, handle& detail) noexcept {
  revenium_result why = 0;
  const int code = revenium_init(config.empty() ? nullptr : config.data(), config.size(), &why);
  detail = handle(why);
  return code;
}

/// Whether the library runs, started by whomever.
inline bool runs() noexcept {
  revenium_state state{};
  state.struct_size = sizeof state;
  return revenium_status(&state) == REVENIUM_OK && state.initialized != 0;
}

/// Whether the library was shut down and not started again.
inline bool is_shut_down() noexcept {
  revenium_scope probe = 0;
  const int code = revenium_scope_new(REVENIUM_SCOPE_NONE, nullptr, 0, 0, &probe);
  revenium_release(probe);
  return code == REVENIUM_E_CLOSED;
}

/// Before every call: the first one starts the library from the environment, with the name of this binding.
inline void ready() {
  start_state& state = start_state::get();
  if (state.started.load(std::memory_order_acquire)) return;
  check_abi();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.started.load(std::memory_order_relaxed)) return;
  // Somebody else's settings stay, and somebody else's shutdown too.
  if (!runs() && !is_shut_down()) {
    handle why;
    const int code = init(with_source({}), why);
    if (code != REVENIUM_E_ALREADY) check(code, why);
    if (code == REVENIUM_OK) {
      state.implicitly = true;
      state.inits = 1;
    }
  }
  state.started.store(true, std::memory_order_release);
}

/// What `call` makes, in a library that has started; throws where it makes the reason why it does not.
template <class Call>
handle made(Call&& call) {
  ready();
  std::uint64_t out = 0;
  const int code = call(&out);
  handle owned(out);
  check(code, owned);
  return owned;
}

/// Undoes one start that this binding has made; those of others stay.
inline int shutdown(std::chrono::milliseconds timeout) noexcept {
  {
    start_state& state = start_state::get();
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (state.inits == 0) return REVENIUM_OK;
    --state.inits;
    state.implicitly = false;
  }
  return revenium_shutdown(milliseconds(timeout));
}

}  // namespace detail

/// Starts the library. Optional: the first call starts it from the environment.
///
/// config: a JSON object of settings, or nothing to take everything from the environment. Throws config_error for a
/// setting that is unknown or malformed, already_error if the library runs with other settings. Counted: each success
/// wants one shutdown(). Opens no connection.
inline void init(std::string_view config = {}) {
  detail::check_abi();
  detail::start_state& state = detail::start_state::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const bool first = !detail::runs();
  handle why;
  int code = detail::init(detail::with_source(config), why);
  // Asking for nothing in particular is content with whatever runs.
  if (code == REVENIUM_E_ALREADY && config.empty()) code = detail::init({}, why);
  detail::check(code, why);
  // The start that the first call made is this one from now on, so that one shutdown() ends both.
  if (std::exchange(state.implicitly, false)) {
    --state.inits;
    if (!first) revenium_shutdown(0);
  }
  ++state.inits;
  state.started.store(true, std::memory_order_release);
}

/// Waits until every usage record known now is delivered or given up. False: some are still pending after `timeout`.
/// Throws would_deadlock_error inside a callback, closed_error after shutdown().
inline bool flush(std::chrono::milliseconds timeout) {
  detail::check_abi();
  const int code = revenium_flush(detail::milliseconds(timeout));
  if (code == REVENIUM_E_TIMEOUT) return false;
  detail::check(code, "Usage records could not be flushed");
  return true;
}

/// Undoes one init(), or the start that the first call made. The last one cancels the calls under way, delivers what is
/// pending and ends the threads; it never waits much longer than `timeout`.
///
/// False: not everything was delivered in time; the rest lies in the spool, where there is one, for the next run. True
/// also if this binding has started nothing.
/// Afterwards calls throw closed_error until the next init(); what was got before can still be read. Throws
/// would_deadlock_error inside a callback.
inline bool shutdown(std::chrono::milliseconds timeout = std::chrono::seconds(5)) {
  detail::check_abi();
  const int code = detail::shutdown(timeout);
  if (code == REVENIUM_E_TIMEOUT) return false;
  if (code != REVENIUM_E_CLOSED) detail::check(code, "The library could not be shut down");
  return true;
}

/// Whether calls made now would be metered: there is a Revenium key and the library runs or can start. Never waits.
inline bool is_initialized() noexcept { return revenium_is_initialized() != 0; }

/// Holds the library open: init() now, shutdown() at the end of its life. Make one in main().
class library {
 public:
  explicit library(std::string_view config = {}, std::chrono::milliseconds shutdown_timeout = std::chrono::seconds(5))
      : timeout_(shutdown_timeout) {
    init(config);
  }
  library(library&& other) noexcept : timeout_(other.timeout_), open_(std::exchange(other.open_, false)) {}
  library& operator=(library&& other) noexcept {
    if (this != &other) {
      close();
      timeout_ = other.timeout_;
      open_ = std::exchange(other.open_, false);
    }
    return *this;
  }
  library(const library&) = delete;
  library& operator=(const library&) = delete;
  ~library() { close(); }

 private:
  void close() noexcept {
    if (std::exchange(open_, false)) detail::shutdown(timeout_);
  }

  std::chrono::milliseconds timeout_;
  bool open_ = true;
};

enum class provider : std::int32_t {
  unknown = REVENIUM_PROVIDER_UNKNOWN,
  anthropic = REVENIUM_PROVIDER_ANTHROPIC,
  bedrock = REVENIUM_PROVIDER_BEDROCK,
};

enum class metering : std::int32_t {
  /// There is no Revenium key.
  off = 0,
  on = 1,
  /// Only what is in a scope with the meter mark.
  selective = 2,
};

/// The state of the library. Counters run since it started.
struct state {
  bool initialized = false;
  /// For a call without a choice of its own.
  revenium::provider provider = revenium::provider::unknown;
  revenium::metering metering = revenium::metering::off;
  std::int64_t calls_in_flight = 0;
  std::int64_t calls_started = 0;
  std::int64_t calls_failed = 0;
  /// Usage records not yet acknowledged.
  std::int64_t events_pending = 0;
  std::int64_t events_delivered = 0;
  std::int64_t events_retried = 0;
  /// Given up for good; 0 is the healthy value.
  std::int64_t events_dropped = 0;
  /// Code of the last failed delivery and its HTTP status, 0 if there was none.
  int last_error = 0;
  int last_http_status = 0;
};

/// The state of the library. Never waits. Throws closed_error after shutdown().
inline state status() {
  detail::check_abi();
  revenium_state raw{};
  raw.struct_size = sizeof raw;
  detail::check(revenium_status(&raw), "The state of the library could not be read");
  state out;
  out.initialized = raw.initialized != 0;
  out.provider = static_cast<provider>(raw.provider);
  out.metering = static_cast<metering>(raw.metering);
  out.calls_in_flight = raw.calls_in_flight;
  out.calls_started = raw.calls_started;
  out.calls_failed = raw.calls_failed;
  out.events_pending = raw.events_pending;
  out.events_delivered = raw.events_delivered;
  out.events_retried = raw.events_retried;
  out.events_dropped = raw.events_dropped;
  out.last_error = raw.last_error;
  out.last_http_status = raw.last_http_status;
  return out;
}

/// The same and more as JSON: settings in force without secrets, provider and why, queue depth, last error in words.
inline std::string status_json() {
  detail::check_abi();
  revenium_result out = 0;
  const int code = revenium_status_json(&out);
  const handle result(out);
  detail::check(code, result);
  return std::string(detail::read(revenium_result_json, result.get()));
}

enum class log_level : std::int32_t {
  error = REVENIUM_LOG_ERROR,
  warn = REVENIUM_LOG_WARN,
  info = REVENIUM_LOG_INFO,
  debug = REVENIUM_LOG_DEBUG,
};

using log_function = std::function<void(log_level, std::string_view)>;

namespace detail {

struct log_state {
  std::mutex mutex;
  /// Never freed at exit: lines may still come while the program's statics are torn down.
  log_function* current = nullptr;

  static log_state& get() {
    static log_state* state = new log_state;
    return *state;
  }
  static bool& in_callback() noexcept {
    thread_local bool inside = false;
    return inside;
  }
};

inline void on_log(void* user, std::int32_t level, const char* text, std::size_t length) noexcept {
  log_state::in_callback() = true;
  try {
    (*static_cast<log_function*>(user))(static_cast<log_level>(level), std::string_view(text, length));
  } catch (...) {
    // A log line is not worth the program.
  }
  log_state::in_callback() = false;
}

}  // namespace detail

/// Sends log lines up to `level` to `log` instead of standard error; an empty function turns that back.
///
/// `log` runs on any thread, one line at a time; what it throws is dropped. It must not call set_log(), which would
/// throw would_deadlock_error. When this returns, the former function is not running and never will again.
inline void set_log(log_function log, log_level level = log_level::info) {
  detail::check_abi();
  // Before the lock, which the thread that waits for this very line may hold.
  if (detail::log_state::in_callback()) {
    detail::check(REVENIUM_E_WOULD_DEADLOCK, "set_log() was called by the log function");
  }
  detail::log_state& state = detail::log_state::get();
  auto next = log ? std::make_unique<log_function>(std::move(log)) : nullptr;
  const std::lock_guard<std::mutex> lock(state.mutex);
  const int code = revenium_set_log(next ? detail::on_log : nullptr, next.get(), static_cast<std::int32_t>(level));
  detail::check(code, "The log function could not be set");
  delete std::exchange(state.current, next.release());
}

}  // namespace revenium

#endif
