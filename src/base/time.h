// Points in time and durations as people write them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lb {

// Wall clock, for what people and other machines read. Deadlines within a run use steady_clock.
using SysTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

[[nodiscard]] SysTime sys_now();

// "2026-11-22T02:13:55.123Z", always UTC, always milliseconds.
[[nodiscard]] std::string format_iso8601(SysTime time);
// Reads what format_iso8601 writes (our own files), the year 10000 and later as well: an order may be
// dated after one of the last moment of 9999. Sources have parsers of their own.
[[nodiscard]] Result<SysTime> parse_iso8601(std::string_view text);

// "250ms", "60s", "5m", "2h", "1d", at most 365 days (limits::kDuration); a plain number is refused,
// since it has no unit.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);
// The same, of another lbd or a saved file: what is longer is 365 days, as the rest of it is good.
[[nodiscard]] Result<std::chrono::milliseconds> bounded_duration(std::string_view text);
// The shortest exact form of parse_duration's: "90s", "2m", "250ms".
[[nodiscard]] std::string format_duration(std::chrono::milliseconds duration);

}  // namespace lb
