// Whom the configuration's secrets are shown to.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"

namespace lb {

// A sentence each: files that every user can read, and what goes over the network as it is. Looks at the files.
[[nodiscard]] std::vector<std::string> secret_warnings(const Config& config);

}  // namespace lb
