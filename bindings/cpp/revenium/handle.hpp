// A handle of the C library that is released exactly once, and what can be read from one.
#ifndef REVENIUM_HANDLE_HPP
#define REVENIUM_HANDLE_HPP

#include <revenium.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace revenium {

/// Owns one handle of the C library. Move-only; an empty or moved-from one holds 0.
class handle {
 public:
  handle() noexcept = default;
  /// Takes the handle over.
  explicit handle(revenium_handle number) noexcept : number_(number) {}
  handle(handle&& other) noexcept : number_(other.detach()) {}
  handle& operator=(handle&& other) noexcept {
    handle(std::move(other)).swap(*this);
    return *this;
  }
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  ~handle() {
    if (number_ != 0) revenium_release(number_);
  }

  revenium_handle get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ != 0; }
  /// Gives the handle up without releasing it.
  revenium_handle detach() noexcept { return std::exchange(number_, 0); }
  void swap(handle& other) noexcept { std::swap(number_, other.number_); }

 private:
  revenium_handle number_ = 0;
};

/// Token counts. -1 where the provider did not say.
struct usage {
  std::int64_t input_tokens = -1;
  std::int64_t output_tokens = -1;
  std::int64_t cache_creation_input_tokens = -1;
  std::int64_t cache_read_input_tokens = -1;
  /// Whether the call was handed to metering.
  bool metered = false;
};

/// Waits that take a timeout take this for "no limit".
inline constexpr std::chrono::milliseconds forever{REVENIUM_FOREVER};

namespace detail {

using text_reader = const char* (*)(revenium_result, std::size_t*);

/// A text that belongs to `result`; data() is null if there is none.
inline std::string_view read(text_reader reader, revenium_result result) noexcept {
  std::size_t length = 0;
  const char* text = reader(result, &length);
  return text == nullptr ? std::string_view() : std::string_view(text, length);
}

inline usage read_usage(revenium_result result) noexcept {
  revenium_usage counts{};
  counts.struct_size = sizeof counts;
  usage out;
  if (revenium_result_usage(result, &counts) != REVENIUM_OK) return out;
  out.input_tokens = counts.input_tokens;
  out.output_tokens = counts.output_tokens;
  out.cache_creation_input_tokens = counts.cache_creation_input_tokens;
  out.cache_read_input_tokens = counts.cache_read_input_tokens;
  out.metered = counts.metered != 0;
  return out;
}

/// Milliseconds as the C functions take them: any negative time is "for ever", a very long one 24 days.
inline std::int32_t milliseconds(std::chrono::milliseconds time) noexcept {
  constexpr auto most = std::numeric_limits<std::int32_t>::max();
  if (time.count() < 0) return REVENIUM_FOREVER;
  return time.count() > most ? most : static_cast<std::int32_t>(time.count());
}

}  // namespace detail
}  // namespace revenium

#endif
