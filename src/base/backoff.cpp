#include "base/backoff.h"

#include <algorithm>

namespace lb {

std::chrono::milliseconds Backoff::next(std::uint32_t random) {
  // Nine doublings pass kLongest; more would only overflow.
  const auto doublings = std::min<std::uint64_t>(attempts_, 9);
  ++attempts_;
  const auto full = std::min(kFirst * (std::int64_t{1} << doublings), kLongest);
  return full - full / 2 * random / UINT32_MAX;
}

}  // namespace lb
