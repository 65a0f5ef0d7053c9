// A deadline: a duration on the steady clock, so that steps of the wall clock neither bring it nearer
// nor put it off. Pure but for the id of this boot.
//
// Saved with both clocks. The steady clock goes on over restarts of lbd within one boot, and decides.
// In another boot only the wall clock is left; what it says is clamped to [now, now + length].
#pragma once

#include <chrono>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "base/time.h"
#include "sources/clocks.h"

namespace lb {

struct Deadline {
  std::chrono::steady_clock::time_point at;
  SysTime wall;                        // the same moment when it was set: for people
  std::chrono::milliseconds length{};  // it is never further away than this

  [[nodiscard]] static constexpr Deadline in(std::chrono::milliseconds length, Moment now) {
    return {now.steady + length, now.wall + length, length};
  }
  [[nodiscard]] bool passed(std::chrono::steady_clock::time_point now) const { return at <= now; }

  bool operator==(const Deadline&) const = default;
};

// Into `out` under `name`: the wall time, and beside it what the steady clock says. Reading throws
// nlohmann's exceptions: call it inside decode_json(). `longest`: of files that tell no length.
void write_deadline(nlohmann::json& out, std::string_view name, const Deadline& deadline);
[[nodiscard]] Result<Deadline> read_deadline(const nlohmann::json& from, std::string_view name,
                                             std::chrono::milliseconds longest, Moment now);

}  // namespace lb
