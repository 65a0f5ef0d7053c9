// How long a test waits for what must happen. The limits are for a machine that is not emulated; LB_PATIENCE, which tests/vm
// sets, multiplies them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdlib>

namespace lb::test {

inline std::chrono::milliseconds patient(std::chrono::milliseconds limit) {
  static const int factor = [] {
    const char* text = std::getenv("LB_PATIENCE");
    return text == nullptr ? 1 : std::max(1, std::atoi(text));
  }();
  return limit * factor;
}

}  // namespace lb::test
