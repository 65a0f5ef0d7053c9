// What a health check may be, the same wherever it is written down: in services files, in labels of Marathon, in what updaters send and
// in saved files.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "model/service.h"

namespace lb::check_limits {

constexpr std::chrono::milliseconds kShortestInterval{100};  // more often measures the prober
constexpr std::chrono::milliseconds kLongestInterval = std::chrono::hours(1);
constexpr std::chrono::milliseconds kShortestTimeout{10};
constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::minutes(1);
constexpr std::uint32_t kMostInARow = 100;  // rise and fall
constexpr std::size_t kLongestPath = 1024;

// It becomes part of a request's first line: printable ASCII, without blanks and fragment.
[[nodiscard]] constexpr bool is_path(std::string_view text) {
  return text.starts_with('/') && text.size() <= kLongestPath &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

// The last word on each check of every origin. The error is a sentence.
[[nodiscard]] Result<> validate(const HealthCheck& check);

}  // namespace lb::check_limits
