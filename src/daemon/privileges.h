// What lbd gives up for good at each start: what is not in the unit's
// CapabilityBoundingSet, new privileges, core files, and system calls that it never makes. SECURITY.md
// says what each capability that stays is for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace lb {

// Those that lbd keeps of what it was started with, one bit each (linux/capability.h).
// `all_namespaces`: dataplane.scope = "all", which enters network namespaces to count.
[[nodiscard]] std::uint64_t kept_capabilities(bool all_namespaces);

// For this thread and those that it starts: call it before there are others. Each part is tried by
// itself; returns a sentence for each that the kernel refuses, which is no reason not to serve.
[[nodiscard]] std::vector<std::string> give_up_privileges(bool all_namespaces);

}  // namespace lb
