// Both clocks, so that tests can set them. Freshness compares wall clocks; deadlines are steady.
#pragma once

#include <chrono>
#include <functional>

#include "base/time.h"

namespace lb {

struct Moment {
  SysTime wall;
  std::chrono::steady_clock::time_point steady;
};

struct Clocks {
  std::function<SysTime()> wall = sys_now;
  std::function<std::chrono::steady_clock::time_point()> steady = std::chrono::steady_clock::now;

  [[nodiscard]] Moment now() const { return {wall(), steady()}; }
};

}  // namespace lb
