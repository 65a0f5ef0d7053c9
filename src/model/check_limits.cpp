#include "model/check_limits.h"

#include <fmt/format.h>

#include "base/text.h"

namespace lb::check_limits {

Result<> validate(const HealthCheck& check) {
  if (!is_path(check.path))
    return fail(
        fmt::format("path '{}' of a health check must start with / and be printable ASCII, "
                    "with neither blanks nor #, of at most {} bytes",
                    printable(check.path), kLongestPath));
  if (check.interval < kShortestInterval || check.interval > kLongestInterval)
    return fail(fmt::format("interval of a health check must be {} to {}",
                            format_duration(kShortestInterval), format_duration(kLongestInterval)));
  if (check.timeout < kShortestTimeout || check.timeout > kLongestTimeout)
    return fail(fmt::format("timeout of a health check must be {} to {}",
                            format_duration(kShortestTimeout), format_duration(kLongestTimeout)));
  if (check.rise < 1 || check.rise > kMostInARow || check.fall < 1 || check.fall > kMostInARow)
    return fail(fmt::format("rise and fall of a health check must be 1 to {}", kMostInARow));
  return {};
}

}  // namespace lb::check_limits
