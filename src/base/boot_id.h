// Tells one boot of this host from another.
#pragma once

#include <string>

namespace lb {

// The kernel's random id of this boot; "unknown" where /proc does not tell.
[[nodiscard]] std::string boot_id();

}  // namespace lb
