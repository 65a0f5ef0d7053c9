// Under which addresses a service can be reached. Pure: which services there are, which addresses
// the host has and which of them foreign listeners hold is given; no kernel is asked.
#pragma once

#include <array>
#include <set>
#include <string>
#include <vector>

#include "model/desired.h"
#include "model/reach.h"

namespace lb {

// Where a client can connect to. The same shape as a service's identity, but never 0.0.0.0 or ::.
using Frontend = ServiceKey;

[[nodiscard]] const IpAddress& loopback_v4();  // 127.0.0.1
[[nodiscard]] const IpAddress& loopback_v6();  // ::1

// True if the service takes its addresses for itself: neither left by its source nor refused.
[[nodiscard]] bool claims(const DesiredState& desired, const ServiceKey& key);

// A wildcard has only those that the reach of its source allows; no service has one that lbd itself dials.
// Sorted. `local` are the host's addresses, sorted or not. The most specific claim wins an address:
// the service on it, then 127.0.0.1 for its alias ::1, then 0.0.0.0 (its IPv4 addresses) and ::
// (all), and last 0.0.0.0 for the alias ::1. Empty when the service claims nothing.
[[nodiscard]] std::vector<IpAddress> frontend_addresses(const ServiceKey& key,
                                                        const DesiredState& desired,
                                                        const std::vector<IpAddress>& local);

// Takes away what is `blocked`. ::1 as an alias goes with 127.0.0.1: who must not have the address
// must not have half of it.
[[nodiscard]] std::vector<IpAddress> without_blocked(const ServiceKey& key,
                                                     std::vector<IpAddress> addresses,
                                                     const std::set<IpAddress>& blocked);

// Those of `addresses` at which clients of other hosts are not served, as its source may not publish there. Sorted as they are.
[[nodiscard]] std::vector<IpAddress> withheld_addresses(const DesiredService& service,
                                                        const std::vector<IpAddress>& addresses,
                                                        const HostView& host);
// Why a service that is for clients of other hosts serves local ones only, as far as its source's rights have to do with it, and
// what would allow more; "": they have not.
[[nodiscard]] std::string why_local_only(const DesiredService& service, const DesiredState& desired,
                                         const HostView& host);

// The services whose addresses can change when `key` comes or goes: itself, the service that has
// ::1 as an alias, and the wildcards of its port.
[[nodiscard]] std::array<ServiceKey, 4> dependents(const ServiceKey& key);

}  // namespace lb
