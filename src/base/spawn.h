// How root coroutines start: asio::detached would drop their exceptions in silence.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace lb {

namespace asio = boost::asio;

// Logs why a root coroutine died and stops the loop: a daemon without one of its parts is worse
// than a restart, since the kernel keeps forwarding meanwhile.
void root_ended(asio::io_context& io, const std::string& name, const std::exception_ptr& error);

// Runs `fn()` (which returns awaitable<void>) until it ends; `fn` lives as long as the coroutine.
// Everything runs on the one thread of `io`.
template <class Fn>
void spawn(asio::io_context& io, std::string name, Fn fn) {
  asio::co_spawn(io, std::move(fn), [&io, name = std::move(name)](const std::exception_ptr& error) {
    if (error) root_ended(io, name, error);
  });
}

// The same, unless `error` says no more than that the coroutine was cancelled between two waits.
void cancelled_root_ended(asio::io_context& io, const std::string& name,
                          const std::exception_ptr& error);

// A root that its owner ends before the loop does, by `signal`.
template <class Fn>
void spawn(asio::io_context& io, std::string name, asio::cancellation_signal& signal, Fn fn) {
  asio::co_spawn(io, std::move(fn),
                 asio::bind_cancellation_slot(
                     signal.slot(), [&io, name = std::move(name)](const std::exception_ptr& error) {
                       if (error) cancelled_root_ended(io, name, error);
                     }));
}

}  // namespace lb
