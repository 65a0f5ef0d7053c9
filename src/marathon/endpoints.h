// Which Marathon to ask: a random one of those that work; one that failed rests, longer each time. Pure:
// the time and the random number are handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

namespace lb::marathon {

class Endpoints {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kShortest{250};

  Endpoints(std::size_t count, std::chrono::milliseconds longest_rest)
      : all_(std::max<std::size_t>(count, 1)), longest_(std::max(longest_rest, kShortest)) {}

  struct Choice {
    std::size_t index = 0;
    TimePoint not_before{};  // when all of them rest: the end of the shortest rest
  };
  // `random` is in [0, 1). `avoid` is chosen only when no other works.
  [[nodiscard]] Choice choose(TimePoint now, double random,
                              std::optional<std::size_t> avoid = std::nullopt) const {
    std::vector<std::size_t> awake;
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (all_[i].rests_until <= now && i != avoid) awake.push_back(i);
    if (!awake.empty()) {
      const auto n = static_cast<std::size_t>(random * static_cast<double>(awake.size()));
      return {awake[std::min(n, awake.size() - 1)], now};
    }
    if (avoid && all_[*avoid].rests_until <= now) return {*avoid, now};
    const auto first = std::min_element(all_.begin(), all_.end(), [](const One& a, const One& b) {
      return a.rests_until < b.rests_until;
    });
    return {static_cast<std::size_t>(first - all_.begin()), first->rests_until};
  }

  // The rest is between half and all of the full one, so that a fleet does not come back at once.
  void failed(std::size_t index, TimePoint now, double random) {
    One& one = all_.at(index);
    const int n = std::min(one.failures++, kMostDoublings);
    const auto full = std::min<std::chrono::milliseconds>(longest_, kShortest * (1 << n));
    one.rests_until = now + std::chrono::milliseconds(static_cast<long long>(
                                static_cast<double>(full.count()) * (0.5 + random / 2)));
  }
  // What will fail again in a moment, too.
  void rest_longest(std::size_t index, TimePoint now, double random) {
    all_.at(index).failures = kMostDoublings;
    failed(index, now, random);
  }
  void succeeded(std::size_t index) { all_.at(index) = {}; }

  // Another one worked when it was asked last, or was never asked.
  [[nodiscard]] bool has_other(std::size_t index) const {
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (i != index && all_[i].failures == 0) return true;
    return false;
  }
  [[nodiscard]] bool all_fail() const {
    return std::all_of(all_.begin(), all_.end(), [](const One& one) { return one.failures > 0; });
  }
  [[nodiscard]] std::size_t size() const { return all_.size(); }

 private:
  struct One {
    int failures = 0;  // in a row
    TimePoint rests_until{};
  };
  static constexpr int kMostDoublings = 10;
  std::vector<One> all_;
  std::chrono::milliseconds longest_;
};

}  // namespace lb::marathon
