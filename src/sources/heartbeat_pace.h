// How long heartbeats may be left unread. Alone each is looked at when it arrives, and so is everything
// that follows a change; of a storm of heartbeats that change nothing several are looked at together,
// which halves what they cost. Pure.
#pragma once

#include <chrono>

namespace lb {

class HeartbeatPace {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // After each batch: whether it changed anything that is shown.
  [[nodiscard]] std::chrono::milliseconds after(bool changed, SteadyTime now) {
    const bool close = now - last_ <= kClose;
    last_ = now;
    streak_ = changed || !close ? 0 : streak_ + 1;
    return streak_ < kStorm ? std::chrono::milliseconds(0) : kPace;
  }

 private:
  static constexpr std::chrono::milliseconds kClose{100};
  static constexpr std::chrono::milliseconds kPace{20};  // what a change in a storm may wait
  static constexpr int kStorm = 20;

  SteadyTime last_{};
  int streak_ = 0;
};

}  // namespace lb
