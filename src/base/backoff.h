// How long to wait before trying again what failed. A value: who retries owns clock and randomness.
#pragma once

#include <chrono>
#include <cstdint>

namespace lb {

class Backoff {
 public:
  static constexpr std::chrono::milliseconds kFirst{100};       // a passing cause is gone by then
  static constexpr std::chrono::milliseconds kLongest{30'000};  // bounds the time to self-healing

  // The wait before the next attempt: doubles from kFirst to kLongest, of which `random` (any
  // 32-bit number) takes away up to half, so that many that failed together do not retry together.
  [[nodiscard]] std::chrono::milliseconds next(std::uint32_t random);
  void reset() { attempts_ = 0; }
  [[nodiscard]] std::uint64_t attempts() const { return attempts_; }

 private:
  std::uint64_t attempts_ = 0;
};

}  // namespace lb
