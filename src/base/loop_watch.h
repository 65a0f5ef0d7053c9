// Runs a loop and measures its steps: while one of them lasts, all else waits. Knows the longest, and
// nothing of what was done in it.
#pragma once

#include <chrono>

#include <boost/asio/io_context.hpp>

namespace lb {

namespace asio = boost::asio;

class LoopWatch {
 public:
  using Clock = std::chrono::steady_clock;

  // The longest step by design; each that is longer is told to who debugs.
  static constexpr std::chrono::milliseconds kStep{20};
  // From here on the longest is worth a warning.
  static constexpr std::chrono::milliseconds kWorthALine{100};

  // As io.run(), one step after the other.
  void run(asio::io_context& io);

  // Zero before the first step.
  [[nodiscard]] Clock::duration longest() const { return longest_; }
  [[nodiscard]] std::chrono::system_clock::time_point when() const { return when_; }

  // asio waits for events and runs the first of their handlers within one call. Whoever can see the end
  // of the wait says so here (daemon/epoll_wait.cpp); otherwise that first step is not measured.
  static void wait_ended();

 private:
  void note(Clock::duration took);

  Clock::duration longest_{};
  std::chrono::system_clock::time_point when_{};
};

}  // namespace lb
