// The addresses that stand in for 127.0.0.1 and ::1 between a local client and IPVS (nft/ipvs_rules.h), on lo.
#pragma once

#include "base/result.h"
#include "model/address.h"

namespace lb {

// 169.254.213.2/32 of host scope, and fd77::289/128, deprecated: neither is ever chosen as a source. That they are
// there is no error. A host without IPv6 gets the first alone.
[[nodiscard]] Result<> add_launder_addresses();
[[nodiscard]] Result<> remove_launder_addresses();  // that they are absent is no error
[[nodiscard]] Result<bool> have_launder_addresses();
[[nodiscard]] bool is_launder_address(const IpAddress& address);
// 127.0.0.1 or ::1 for a launder address, any other as it is.
[[nodiscard]] IpAddress unlaundered(const IpAddress& address);

}  // namespace lb
