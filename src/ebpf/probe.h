// What this kernel and these privileges let us do, found out by trying: a trivial program of each
// kind is loaded (and not attached), which answers for version, configuration, BTF and capabilities
// at once. Knows neither lbd's programs nor its maps.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace lb {

struct HookProbe {
  std::string hook;  // "cgroup/connect4", as in SEC()
  Result<> result;
};

// One for each hook that lbd uses, in a fixed order.
[[nodiscard]] std::vector<HookProbe> probe_hooks();

// Destroying sockets (INET_DIAG_DESTROY), tried on a socket that does not exist.
[[nodiscard]] Result<> probe_sock_destroy();

// The grace period that a drain waits for.
[[nodiscard]] Result<> probe_membarrier();

// Names of the connect4 programs that are in effect on a cgroup, "?" where the name may not be read.
[[nodiscard]] Result<std::vector<std::string>> connect_programs(const std::string& cgroup);

}  // namespace lb
