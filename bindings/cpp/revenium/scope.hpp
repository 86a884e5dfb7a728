// On whose behalf and what for: metadata for calls, as a value or for the rest of a block.
#ifndef REVENIUM_SCOPE_HPP
#define REVENIUM_SCOPE_HPP

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "error.hpp"
#include "handle.hpp"
#include "json.hpp"
#include "library.hpp"

namespace revenium {

namespace detail {

/// The scopes pushed on this thread by objects of this binding, innermost last.
///
/// The library pops only what was pushed last. Objects may end in another order, or, moved along with a coroutine, on
/// another thread; then their scope is marked, and popped as soon as its own thread finds it on top.
class scope_stack {
 public:
  struct entry {
    explicit entry(handle h) : scope(std::move(h)) {}
    handle scope;
    std::atomic<bool> ended{false};
  };

  static scope_stack& of_this_thread() {
    thread_local scope_stack stack;
    return stack;
  }

  std::shared_ptr<entry> push(handle scope) {
    auto pushed = std::make_shared<entry>(std::move(scope));
    entries_.reserve(entries_.size() + 1);
    check(revenium_scope_push(pushed->scope.get()), "The scope could not be entered");
    entries_.push_back(pushed);
    return pushed;
  }

  void settle() noexcept {
    while (!entries_.empty() && entries_.back()->ended.load(std::memory_order_acquire)) {
      // Refused while C code has pushed a scope of its own over it.
      if (revenium_scope_pop(entries_.back()->scope.get()) != REVENIUM_OK) return;
      entries_.pop_back();
    }
  }

 private:
  std::vector<std::shared_ptr<entry>> entries_;
};

inline handle new_scope(revenium_scope parent, std::string_view json, std::uint32_t flags) {
  ready();
  if (parent == REVENIUM_SCOPE_THREAD) scope_stack::of_this_thread().settle();
  revenium_scope made = 0;
  const int code = revenium_scope_new(parent, json.empty() ? nullptr : json.data(), json.size(), flags, &made);
  handle owned(made);  // a scope, or the result that says why there is none
  check(code, owned);
  return owned;
}

}  // namespace detail

/// Metadata as a value: made once, immutable, cheap to copy, usable by any number of threads and coroutines at a time.
///
/// Fields are named as in Revenium's usage_metadata: `metadata{{"organizationName", "Acme"}, {"agent", "summarizer"}}`,
/// or given as the text of a JSON object. Pass it as the last argument of a call; then it replaces the thread's scope.
/// Throws json_error for what is no JSON object, closed_error after shutdown().
class metadata {
 public:
  /// No metadata at all, not even the thread's.
  metadata() noexcept : scope_(REVENIUM_SCOPE_NONE) {}
  metadata(std::initializer_list<field> fields) : metadata(json_object(fields)) {}
  explicit metadata(std::string_view json) : metadata(detail::new_scope(REVENIUM_SCOPE_NONE, json, 0)) {}

  /// Whatever scope the calling thread is in when the call is made; what calls use by default.
  static metadata of_thread() noexcept { return metadata(REVENIUM_SCOPE_THREAD); }

  /// These fields over the ones here. The meter mark is inherited. On of_thread() it captures the scope of this thread.
  metadata with(std::initializer_list<field> fields) const { return with(json_object(fields)); }
  metadata with(std::string_view json) const { return metadata(detail::new_scope(native(), json, 0)); }
  /// The same with the mark that selective metering looks for.
  metadata metered() const { return metadata(detail::new_scope(native(), {}, REVENIUM_SCOPE_METER)); }

  /// For the C functions. Lives as long as any copy of this value.
  revenium_scope native() const {
    if (scope_ == REVENIUM_SCOPE_THREAD) detail::scope_stack::of_this_thread().settle();
    return scope_;
  }

 private:
  explicit metadata(revenium_scope special) noexcept : scope_(special) {}
  explicit metadata(handle made) : scope_(made.get()), owner_(std::make_shared<const handle>(std::move(made))) {}

  revenium_scope scope_;
  std::shared_ptr<const handle> owner_;
};

/// Metadata for every call that this thread makes while the object lives, over that of the scopes around it.
///
///     revenium::scope s{{"organizationName", "Acme"}};
///
/// For code that stays on its thread: keep it in a block, not across a co_await, and not in an object that another
/// thread may destroy; there, pass a metadata value. Neither copyable nor movable. Throws as metadata does.
class scope {
 public:
  scope(std::initializer_list<field> fields) : scope(json_object(fields)) {}
  explicit scope(std::string_view json) : scope(json, 0) {}
  /// Enters a value made before, in place of the scopes around it.
  explicit scope(const revenium::metadata& made) : scope(detail::new_scope(made.native(), {}, 0)) {}
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;
  ~scope() {
    assert(thread_ == std::this_thread::get_id() && "a revenium::scope must end on the thread that made it");
    entry_->ended.store(true, std::memory_order_release);
    detail::scope_stack::of_this_thread().settle();
  }
  /// A scope on the heap would outlive its block.
  static void* operator new(std::size_t) = delete;
  static void* operator new[](std::size_t) = delete;

 private:
  friend class meter;
  scope(std::string_view json, std::uint32_t flags) : scope(detail::new_scope(REVENIUM_SCOPE_THREAD, json, flags)) {}
  explicit scope(handle made) : entry_(detail::scope_stack::of_this_thread().push(std::move(made))) {}

  std::shared_ptr<detail::scope_stack::entry> entry_;
  std::thread::id thread_ = std::this_thread::get_id();
};

/// Marks this thread's calls for metering while the object lives, where metering is selective; elsewhere it does no harm.
class meter {
 public:
  meter() : scope_(std::string_view(), REVENIUM_SCOPE_METER) {}
  /// With metadata besides.
  meter(std::initializer_list<field> fields) : scope_(json_object(fields), REVENIUM_SCOPE_METER) {}

 private:
  scope scope_;
};

}  // namespace revenium

#endif
