// revenium.hpp - call Claude from C++ and meter what it costs.
//
//     #include <revenium.hpp>
//
//     revenium::client client;
//     auto reply = client.messages.create(R"({"model": "claude-sonnet-5-5", "max_tokens": 100,
//                                             "messages": [{"role": "user", "content": "Hello"}]})");
//     std::cout << reply.text() << ' ' << reply.usage().output_tokens << '\n';
//
// Header only; C++17, with co_await and std::stop_token from C++20 on. Link with -lrevenium.
//
// Ownership  Objects own what they hold and release it themselves, in any order, also after shutdown(). Text comes out as
//            std::string; a std::string_view lasts as its comment says. What goes in is copied before a call returns.
// Threads    Every function may be called from any thread. One object is used by one thread at a time, except where its
//            comment says more. In handlers, in the log function and in a coroutine that a call has resumed, functions
//            that wait throw would_deadlock_error.
// Units      Times are std::chrono::milliseconds; revenium::forever is no limit. Counts are tokens, records, bytes.
// Errors     Exceptions derived from revenium::api_error, one class for each code of revenium.h; try_create() and
//            try_stream() give an outcome instead. No exception ever crosses the C library. Metering never fails a call.
#ifndef REVENIUM_HPP
#define REVENIUM_HPP

#if __cplusplus < 201703L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 201703L)
#error "revenium.hpp needs C++17"
#endif

#include <revenium.h>

#include "revenium/error.hpp"
#include "revenium/handle.hpp"
#include "revenium/json.hpp"
#include "revenium/library.hpp"
#include "revenium/message.hpp"
#include "revenium/messages.hpp"
#include "revenium/observed.hpp"
#include "revenium/platform.hpp"
#include "revenium/queue.hpp"
#include "revenium/scope.hpp"

#endif
