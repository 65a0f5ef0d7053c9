// Log lines on their way to a descriptor whose reader may be slow, stop or die. A thread writes them;
// who logs never waits for it, and never dies of it. What finds no room pushes the oldest lines out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace lb {

class LogQueue {
 public:
  // `fd` stays open as long as the process. Four MiB hold some 30,000 lines.
  explicit LogQueue(int fd, std::size_t limit = std::size_t{4} << 20);
  // The thread is left to itself: it may be in a write that never ends.
  ~LogQueue();
  LogQueue(const LogQueue&) = delete;
  LogQueue& operator=(const LogQueue&) = delete;

  void push(std::string line);
  // Waits until all is written; false when that takes longer.
  bool flush(std::chrono::milliseconds within);
  // Lines that were pushed out or that the descriptor refused, since the start.
  [[nodiscard]] std::uint64_t dropped() const;
  // How many of them were dropped since the last call, once there is room again to say so; else 0.
  [[nodiscard]] std::uint64_t take_news();

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace lb
