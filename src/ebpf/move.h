// Moving the state of the maps to maps of other sizes.
#pragma once

#include <vector>

#include "base/result.h"
#include "ebpf/maps.h"

namespace lb::bpf {

// Counters as they were when they were copied.
struct Copied {
  std::vector<__u32> opened;
  std::vector<lb_backend_cold> cold;
};

// Ids, generations and slots keep their places, so that what sockets remember stays true. ENOSPC,
// naming the key, when the new maps are too small for what is in use.
[[nodiscard]] Result<Copied> copy_state(const Maps& from, const Maps& to);

// Once no hook uses `from`: adds the choices and failures that were counted there after the copy.
// (What is active is not added up but recounted from the sockets.)
void add_what_came_since(const Copied& copied, const Maps& from, const Maps& to);

}  // namespace lb::bpf
