// A coroutine that waits until something in the same thread has changed.
#pragma once

#include <chrono>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lb {

namespace asio = boost::asio;

// Auto-reset: a notify() before the wait is not lost, several before one wait count once. The waiter
// is resumed from the loop, never inside notify(), and never without a turn of the others: a coroutine that
// notifies itself does not hold the loop. One waiter at a time.
class Event {
 public:
  explicit Event(asio::any_io_executor executor)
      : timer_(std::move(executor), std::chrono::steady_clock::time_point::max()) {}

  void notify() {
    set_ = true;
    timer_.cancel();
  }

  enum class Woken { Notified, Deadline, Cancelled };

  asio::awaitable<Woken> wait(std::chrono::steady_clock::time_point deadline =
                                  std::chrono::steady_clock::time_point::max()) {
    for (;;) {
      timer_.expires_at(set_ ? std::chrono::steady_clock::time_point::min() : deadline);
      const auto [ec] = co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
      if (set_) break;
      if (!ec) co_return Woken::Deadline;
      // Our own notify() and asio's cancellation end the wait with the same code.
      const auto state = co_await asio::this_coro::cancellation_state;
      if (state.cancelled() != asio::cancellation_type::none) co_return Woken::Cancelled;
    }
    set_ = false;
    co_return Woken::Notified;
  }

 private:
  asio::steady_timer timer_;
  bool set_ = false;
};

}  // namespace lb
