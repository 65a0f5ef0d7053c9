// Merlion's keys and values (its README is the specification). Pure: texts in, values or a sentence
// out. Knows neither etcd nor a clock.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/log_level.h"
#include "base/result.h"
#include "base/time.h"
#include "model/address.h"

namespace lb {

// Merlion's code defaults to 300,000 s by a slip of units; its README says 300 s.
constexpr std::chrono::seconds kMerlionFreshness{300};
// Longer than any useful value: what is above is junk and is not kept in memory.
constexpr std::size_t kMerlionMaxValue = 4096;

struct MerlionConfig {
  std::string upstream_prefix;  // without trailing slashes
  HostPort listen{"0.0.0.0", 8080};
  std::chrono::seconds freshness = kMerlionFreshness;  // 0 and below: always stale, as in Merlion
  std::string state_prefix;           // without trailing slashes; empty: no state is published
  std::optional<LogLevel> log_level;  // of the whole daemon

  bool operator==(const MerlionConfig&) const = default;
};

// The keys directly under `prefix`, without it. One bad value makes the whole configuration bad, as
// in Merlion; the error names the etcd key.
[[nodiscard]] Result<MerlionConfig> parse_merlion_config(
    const std::map<std::string, std::string>& values, const std::string& prefix);

// Blanks and line ends around any value are passed over: `echo` and editors write them.

// Of a service: "host:port", "[::1]:port", "*:port".
[[nodiscard]] Result<HostPort> parse_merlion_address(std::string_view text);
// Of a backend: a wildcard, multicast or broadcast address is refused, since it names no host.
[[nodiscard]] Result<HostPort> parse_merlion_backend(std::string_view text);

// YYYY[-MM[-DD[Thh[:mm[:ss[.fraction]]]]]] and Z, +hh:mm, +hhmm or +hh (or -): UTC when there is none.
// All that `date` writes with -Iseconds, -Ins, --rfc-3339 and %z: a comma before the fraction, and a
// blank for the T, are read too. A form encoder on the way turned + into a blank or %2b: both are +.
[[nodiscard]] Result<SysTime> parse_last_seen_at(std::string_view text);

// Present means disabled, except for empty, 0, false, no and off in any case.
[[nodiscard]] bool parse_disabled(std::string_view text);

// Whether states written below the one would be seen by a watch of the other. Without trailing slashes.
[[nodiscard]] bool overlaps_state(std::string_view state_prefix, std::string_view watched_prefix);

// What a key that Merlion does not have was probably meant to be, as a sentence; "" when it is one that
// Merlion has, or resembles none.
[[nodiscard]] std::string misspelt_config_key(std::string_view key);
[[nodiscard]] std::string misspelt_backend_key(std::string_view key);
// Whether the value of this key is read: of the configuration, of a backend ("aaa/listen-address").
[[nodiscard]] bool is_config_key(std::string_view key);
[[nodiscard]] bool is_backend_key(std::string_view key);

[[nodiscard]] std::string strip_trailing_slashes(std::string_view prefix);

}  // namespace lb
