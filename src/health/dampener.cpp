#include "health/dampener.h"

#include <algorithm>

namespace lb {

bool Dampener::add(bool good) {
  in_a_row_ = good == last_good_ ? in_a_row_ : 0;
  last_good_ = good;
  // No further than needed: it must not wrap in a year of good probes.
  in_a_row_ = std::min(in_a_row_ + 1, std::max(rise_, fall_));
  if (up_ == good || in_a_row_ < (good ? rise_ : fall_)) return false;
  up_ = good;
  return true;
}

}  // namespace lb
