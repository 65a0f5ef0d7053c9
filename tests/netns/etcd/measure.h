// Numbers from measurements.
#pragma once

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <sstream>

#include <fmt/format.h>

#include "support/process.h"

namespace lb::test {

inline double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

inline double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

inline std::string spread(const std::vector<double>& ms) {
  return fmt::format("min {:.2f}, median {:.2f}, p99 {:.2f}, max {:.2f} ms", quantile(ms, 0),
                     quantile(ms, 0.5), quantile(ms, 0.99), quantile(ms, 1));
}

// CPU time in seconds of one process: the scheduler's nanoseconds of all its threads.
inline double cpu_of(pid_t pid) {
  double sum = 0;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    std::istringstream stat(read_text(task.path() / "schedstat"));
    double nanoseconds = 0;
    stat >> nanoseconds;
    sum += nanoseconds / 1e9;
  }
  return sum;
}

}  // namespace lb::test
