// How long to wait before an updater is dialled again. Pure: the random number is handed in.
#pragma once

#include <algorithm>
#include <chrono>

namespace lb::relay {

class Redial {
 public:
  static constexpr std::chrono::milliseconds kShortest{200};  // a restarted updater is back by then
  static constexpr std::chrono::milliseconds kLongest{5'000};

  // After a failure. `random` in [0, 1) spreads the listeners of a fleet that lost the same updater.
  [[nodiscard]] std::chrono::milliseconds failed(double random) {
    const int n = std::min(failures_++, 10);
    const auto full = std::min(kLongest, kShortest * (2 << n));
    return std::chrono::milliseconds(
        static_cast<long long>(static_cast<double>(full.count()) * (0.5 + random / 2)));
  }
  void succeeded() { failures_ = 0; }

 private:
  int failures_ = 0;
};

}  // namespace lb::relay
