// Which addresses can be those of a host that one connects to.
#pragma once

#include <string_view>

#include "model/address.h"

namespace lb {

// Why it cannot be the address of a backend, "" when it can: a wildcard, a group, all hosts.
[[nodiscard]] std::string_view why_no_host(const IpAddress& address);

}  // namespace lb
