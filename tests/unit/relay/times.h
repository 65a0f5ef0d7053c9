// Moments of tests.
#pragma once

#include <chrono>

#include "base/time.h"

namespace lb::relay {

constexpr std::chrono::steady_clock::time_point kStart{std::chrono::hours(1)};

inline SysTime wall(int second) { return SysTime(std::chrono::seconds(1'800'000'000 + second)); }

}  // namespace lb::relay
