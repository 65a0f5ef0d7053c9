// What this machine calls itself.
#pragma once

#include <string>

namespace lb {

// gethostname(2); "localhost" where that says nothing.
[[nodiscard]] std::string host_name();

}  // namespace lb
