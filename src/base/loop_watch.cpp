#include "base/loop_watch.h"

#include <spdlog/spdlog.h>

namespace lb {
namespace {

// Of the thread's loop.
thread_local LoopWatch::Clock::time_point last_wait_end;

}  // namespace

void LoopWatch::wait_ended() { last_wait_end = Clock::now(); }

void LoopWatch::run(asio::io_context& io) {
  for (;;) {
    auto began = Clock::now();
    while (io.poll_one() > 0) {
      const auto now = Clock::now();
      note(now - began);
      began = now;
    }
    if (io.run_one() == 0) return;
    // Before `began`: nothing has told when the wait was over.
    if (last_wait_end >= began) note(Clock::now() - last_wait_end);
  }
}

void LoopWatch::note(Clock::duration took) {
  if (took >= kStep)
    spdlog::debug("the loop was held for {} ms",
                  std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  if (took <= longest_) return;
  longest_ = took;
  when_ = std::chrono::system_clock::now();
  if (took >= kWorthALine)
    spdlog::warn("the loop was held for {} ms, longer than ever",
                 std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
}

}  // namespace lb
