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

// How long something may take that lbd promises for a machine that does nothing else. The limit itself where LB_PROMISES is set
// (tools/bench/promises); beside other tests ten times as much: a poll where an event was promised takes longer than that, too.
template <class Duration>
Duration promised(Duration limit) {
  return std::getenv("LB_PROMISES") != nullptr ? limit : 10 * limit;
}

}  // namespace lb::test
