// From what should be to what must be done, as functions of values. Comparing two desired states
// compares pointers first: one change among 10,000 services must not cost 10,000 comparisons.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "dataplane/dataplane.h"
#include "model/desired.h"

namespace lb {

// What the kernel is known to have.
using AppliedState = std::map<ServiceKey, ProgrammedService>;

// Keys that are in one state only, or whose services differ. Sorted.
[[nodiscard]] std::vector<ServiceKey> changed_keys(const DesiredState& before,
                                                   const DesiredState& after);

// Weights divided by their greatest common divisor.
[[nodiscard]] ProgrammedService to_programmed(const DesiredService& service,
                                              std::vector<IpAddress> addresses);
[[nodiscard]] ProgrammedService to_programmed(const ObservedService& observed);
// Without those that were removed, and of which only connections are left.
[[nodiscard]] AppliedState to_applied(const Observed& observed);

// In the order in which it must be done: what gives addresses up comes before what may take them.
enum class Step : std::uint8_t { Remove, Release, Upsert };

// What leads from `have` to `want` for one service (null: absent); nullopt: nothing to do.
[[nodiscard]] std::optional<Step> next_step(const ProgrammedService* want,
                                            const ProgrammedService* have);

}  // namespace lb
