// Other lbds on the same cgroup subtree. Two would steer each connection twice.
#pragma once

#include <string>

#include "base/result.h"

namespace lb::bpf {

// An error that names the pin folder of another lbd whose programs run for sockets of this cgroup, or
// of one below it. Finds those pinned beside `bpffs`, which needs no privilege more than attaching
// does; others only with CAP_SYS_ADMIN.
[[nodiscard]] Result<> refuse_second_lbd(const std::string& cgroup, const std::string& bpffs);

}  // namespace lb::bpf
