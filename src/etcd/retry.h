// Which endpoint to ask next, and how long to wait before. Pure: the random number is handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace lb::etcd {

class Retry {
 public:
  static constexpr std::chrono::milliseconds kFirst{10};  // a member that restarts, a lost socket
  static constexpr std::chrono::milliseconds kShortest{100};
  static constexpr std::chrono::milliseconds kLongest{10'000};

  explicit Retry(std::size_t endpoints) : endpoints_(std::max<std::size_t>(endpoints, 1)) {}

  [[nodiscard]] std::size_t endpoint() const { return endpoint_; }

  // After a failure: the next endpoint, and the pause before it is asked. `random` is in [0, 1); it
  // spreads the daemons of a whole fleet that lost the same member.
  [[nodiscard]] std::chrono::milliseconds failed(double random) {
    endpoint_ = (endpoint_ + 1) % endpoints_;
    const int n = failures_++;
    std::chrono::milliseconds full = kFirst;
    if (n > 0)
      full = std::min<std::chrono::milliseconds>(kLongest, kShortest * (1 << std::min(n - 1, 10)));
    return std::chrono::milliseconds(
        static_cast<long long>(static_cast<double>(full.count()) * (0.5 + random / 2)));
  }

  void succeeded() { failures_ = 0; }

 private:
  std::size_t endpoints_;
  std::size_t endpoint_ = 0;
  int failures_ = 0;
};

}  // namespace lb::etcd
