#include "result.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>

namespace lb::bench {

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// The fill writes every page now: resize() alone would leave the faults to the first samples.
Result::Result(std::size_t expected_units) : latencies_(expected_units, -1) {}

void Result::add_latency(std::int64_t nanoseconds) {
  if (used_ == latencies_.size()) latencies_.resize(std::max<std::size_t>(1024, used_ * 2));
  latencies_[used_++] = nanoseconds;
}

std::size_t Result::failed() const {
  std::size_t sum = 0;
  for (const auto& [error, count] : failures_) sum += count;
  return sum;
}

std::int64_t Result::percentile(double fraction) const {
  if (used_ == 0) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(used_)));
  return latencies_[std::clamp<std::size_t>(rank, 1, used_) - 1];
}

std::string Result::to_json(const std::string& mode) {
  std::sort(latencies_.begin(), latencies_.begin() + static_cast<std::ptrdiff_t>(used_));
  std::string failures;
  for (const auto& [error, count] : failures_) {
    const char* name = ::strerrorname_np(error);
    if (!failures.empty()) failures += ',';
    failures +=
        '"' + std::string(name ? name : std::to_string(error)) + "\":" + std::to_string(count);
  }
  return "{\"mode\":\"" + mode + "\",\"count\":" + std::to_string(used_) +
         ",\"failed\":" + std::to_string(failed()) + ",\"failures\":{" + failures +
         "},\"elapsed_ns\":" + std::to_string(elapsed_ns_) +
         ",\"p50_ns\":" + std::to_string(percentile(0.50)) +
         ",\"p99_ns\":" + std::to_string(percentile(0.99)) +
         ",\"bytes\":" + std::to_string(bytes_) + "}";
}

}  // namespace lb::bench
