#include "base/time.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <optional>

#include <fmt/format.h>

#include "base/limits.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

struct Unit {
  std::string_view name;
  milliseconds length;
};
// Longest first, so that format_duration finds the shortest text.
constexpr std::array<Unit, 5> kUnits{{{"d", milliseconds(86'400'000)},
                                      {"h", milliseconds(3'600'000)},
                                      {"m", milliseconds(60'000)},
                                      {"s", milliseconds(1'000)},
                                      {"ms", milliseconds(1)}}};

// nullopt: longer than any that is meant.
Result<std::optional<milliseconds>> duration_of(std::string_view text) {
  long long count = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const bool is_number = (ec == std::errc{} && count >= 0) ||
                         (ec == std::errc::result_out_of_range && !text.starts_with('-'));
  for (const auto& unit : kUnits) {
    if (!is_number || suffix != unit.name) continue;
    if (ec != std::errc{} || count > milliseconds(limits::kDuration) / unit.length)
      return std::nullopt;
    return count * unit.length;
  }
  return fail(
      fmt::format("'{}' is not a duration: write for example \"250ms\", \"60s\" or \"5m\"", text));
}

}  // namespace

SysTime sys_now() {
  return std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now());
}

std::string format_iso8601(SysTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  // Not system_clock::to_time_t: its nanoseconds overflow outside of the years 1677 to 2262.
  const std::time_t t = seconds.time_since_epoch().count();
  std::tm tm{};
  ::gmtime_r(&t, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (time - seconds).count());
}

Result<SysTime> parse_iso8601(std::string_view text) {
  std::tm tm{};
  int ms = 0;
  int length = 0;
  const std::string copy(text);
  const int fields =
      std::sscanf(copy.c_str(), "%5d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon,
                  &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &length);
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  // sscanf and timegm let a 13th month, signs and missing digits pass: writing it again does not.
  if (fields == 7 && static_cast<std::size_t>(length) == text.size()) {
    const SysTime time(std::chrono::seconds(::timegm(&tm)) + milliseconds(ms));
    if (format_iso8601(time) == text) return time;
  }
  return fail(fmt::format("'{}' is not a time like 2026-01-31T12:00:00.000Z", text));
}

Result<milliseconds> parse_duration(std::string_view text) {
  LB_TRY(const auto duration, duration_of(text));
  if (duration) return *duration;
  return fail(fmt::format("'{}' is too long: at most {} is meant by any duration", text,
                          format_duration(limits::kDuration)));
}

Result<milliseconds> bounded_duration(std::string_view text) {
  LB_TRY(const auto duration, duration_of(text));
  return duration.value_or(limits::kDuration);
}

std::string format_duration(milliseconds duration) {
  for (const auto& unit : kUnits)
    if (duration.count() != 0 && duration.count() % unit.length.count() == 0)
      return fmt::format("{}{}", duration.count() / unit.length.count(), unit.name);
  return "0s";
}

}  // namespace lb
