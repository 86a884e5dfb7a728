// co_await for C++20. Included by messages.hpp where the compiler has coroutines.
#ifndef REVENIUM_AWAIT_HPP
#define REVENIUM_AWAIT_HPP

#include <atomic>
#include <coroutine>
#include <memory>
#include <optional>
#include <utility>

#include "message.hpp"

namespace revenium {

namespace detail {

/// Where the call and the coroutine meet: whoever comes second goes on.
struct await_state {
  /// Null: neither came. end_mark(): the call has ended, or nobody waits any more. Else the coroutine that waits.
  std::atomic<void*> arrived{nullptr};
  std::optional<outcome<message>> ended;

  void* end_mark() noexcept { return this; }
};

}  // namespace detail

/// A call under way that a coroutine can await, once.
class [[nodiscard]] awaitable {
 public:
  awaitable(std::shared_ptr<detail::await_state> state, revenium::call begun) noexcept
      : state_(std::move(state)), call_(begun) {}
  awaitable(awaitable&&) noexcept = default;
  awaitable& operator=(awaitable&&) = delete;
  ~awaitable() {
    if (!state_) return;
    // A coroutine that is destroyed while it waits must not be resumed.
    state_->arrived.store(state_->end_mark(), std::memory_order_release);
    call_.cancel();
  }

  bool await_ready() const noexcept {
    return state_->arrived.load(std::memory_order_acquire) == state_->end_mark();
  }
  bool await_suspend(std::coroutine_handle<> waiting) noexcept {
    void* nobody = nullptr;
    return state_->arrived.compare_exchange_strong(nobody, waiting.address(), std::memory_order_acq_rel);
  }
  message await_resume() { return std::move(*state_->ended).value(); }

  /// To cancel it by; the await then throws cancelled_error.
  revenium::call call() const noexcept { return call_; }

 private:
  std::shared_ptr<detail::await_state> state_;
  revenium::call call_;
};

}  // namespace revenium

#endif
