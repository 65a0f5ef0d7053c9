#include "state/deadline.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "base/boot_id.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string steady_name(std::string_view name) { return std::string(name) + "_steady"; }

}  // namespace

void write_deadline(nlohmann::json& out, std::string_view name, const Deadline& deadline) {
  out[std::string(name)] = format_iso8601(deadline.wall);
  const auto at = std::chrono::duration_cast<milliseconds>(deadline.at.time_since_epoch());
  out[steady_name(name)] = {
      {"boot", boot_id()}, {"ms", at.count()}, {"length", format_duration(deadline.length)}};
}

Result<Deadline> read_deadline(const nlohmann::json& from, std::string_view name,
                               milliseconds longest, Moment now) {
  LB_TRY(const SysTime wall, parse_iso8601(from.at(std::string(name)).get<std::string>()));
  milliseconds left = wall - now.wall;
  if (const auto it = from.find(steady_name(name)); it != from.end()) {
    LB_TRY(longest, bounded_duration(it->at("length").get<std::string>()));
    // No sane clock is there: bounded, so that junk in the file cannot overflow.
    constexpr std::int64_t kFar = 4'000'000'000'000;
    const auto ms = std::clamp(it->at("ms").get<std::int64_t>(), -kFar, kFar);
    const steady_clock::time_point at{milliseconds(ms)};
    if (it->at("boot").get<std::string>() == boot_id())
      left = std::chrono::duration_cast<milliseconds>(at - now.steady);
  }
  left = std::clamp(left, milliseconds(0), longest);
  return Deadline{now.steady + left, now.wall + left, longest};
}

}  // namespace lb
