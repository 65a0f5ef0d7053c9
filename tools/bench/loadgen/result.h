// What a client run found out: counts, failures by errno, latencies; printed as one JSON line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace lb::bench {

// Nanoseconds of CLOCK_MONOTONIC.
std::int64_t now_ns();

class Result {
 public:
  // Reserving up front keeps page faults and copies of the latency list out of the measurement.
  explicit Result(std::size_t expected_units);

  void add_latency(std::int64_t nanoseconds);
  void add_failure(int error) { ++failures_[error]; }
  void add_bytes(std::uint64_t bytes) { bytes_ += bytes; }
  void set_elapsed(std::int64_t nanoseconds) { elapsed_ns_ = nanoseconds; }

  [[nodiscard]] std::size_t ok() const { return used_; }
  [[nodiscard]] std::size_t failed() const;

  // Sorts the latencies, hence not const.
  std::string to_json(const std::string& mode);

 private:
  [[nodiscard]] std::int64_t percentile(double fraction) const;

  std::vector<std::int64_t> latencies_;
  std::size_t used_ = 0;
  std::map<int, std::uint64_t> failures_;
  std::uint64_t bytes_ = 0;
  std::int64_t elapsed_ns_ = 0;
};

}  // namespace lb::bench
