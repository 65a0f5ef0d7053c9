// Which kernel state a saved note belongs to.
#pragma once

#include <string>

namespace lb {

// The boot and the network namespace: what was programmed into another one is not there.
[[nodiscard]] std::string this_boot();

}  // namespace lb
