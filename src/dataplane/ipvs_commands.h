// The commands that make IPVS hold what is wanted, and what their results mean: functions of values. IpvsMirror sends them.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "dataplane/ipvs_entry.h"
#include "ipvs/records.h"

namespace lb {

struct MirroredService {
  ipvs::VirtualService service;
  std::map<Address, ipvs::ObservedServer> servers;
};
using MirroredServices = std::map<ipvs::ServiceId, MirroredService>;

// How many of `before` are gone, or have another scheduler, other servers or weights. Counts of connections do not matter.
[[nodiscard]] std::size_t count_changed(const MirroredServices& before,
                                        const MirroredServices& now);

[[nodiscard]] std::vector<ipvs::Command> service_commands(const MirroredServices& have,
                                                          const IpvsTarget& target,
                                                          Balance balance);
// For those of the target's services that are there. New and heavier servers come first: at no moment fewer are in use
// than before and after. Servers that are not in the target keep their connections at weight 0.
[[nodiscard]] std::vector<ipvs::Command> server_commands(const MirroredServices& have,
                                                         const IpvsTarget& target);

struct IpvsFailures {
  std::vector<Error> errors;
  std::set<ipvs::ServiceId> foreign;  // could not be added: another tool has them
};
// One result for each command. What is done is noted in `services`; what is gone already counts as removed.
[[nodiscard]] IpvsFailures note_results(std::span<const ipvs::Command> commands,
                                        std::span<const Result<>> results,
                                        MirroredServices& services);

}  // namespace lb
