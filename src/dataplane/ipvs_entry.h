// What one service means for IPVS: virtual services, real servers, rules. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ipvs/records.h"
#include "model/programmed.h"
#include "nft/dnat_rules.h"
#include "nft/ipvs_rules.h"

namespace lb {

// A service as lbd has it in IPVS. The journal keeps it over restarts: IPVS itself has no room for a note that a virtual service
// is ours.
struct IpvsEntry {
  ServiceKey key;
  Balance balance = Balance::LeastConn;
  std::vector<IpAddress> addresses;  // as last upserted; empty: it runs out
  std::uint32_t mark = 0;            // of a service that is not on a loopback address; else 0
  bool launder = true;               // decided when it was made
  std::set<ipvs::ServiceId> ids;     // its virtual services
  // Where its local clients are laundered. Only grows: each packet of a connection needs it.
  std::set<ServiceKey> laundered;
  // Virtual services of these that have no server in use.
  std::set<ipvs::ServiceId> refusing;
  std::set<Address> drained;     // backends that an operator has taken out
  std::set<IpAddress> withheld;  // of `addresses`: clients of other hosts are not served there
  bool for_others = true;        // it serves clients of other hosts, or did so before it ran out
  bool explained = true;         // false: written by an lbd that did not note them

  bool operator==(const IpvsEntry&) const = default;
};

using nft::is_published;

// least-conn and p2c: wlc; round-robin and random: wrr; source-hash: mh, which falls back where a weight is 0.
[[nodiscard]] ipvs::VirtualService virtual_service(const ipvs::ServiceId& id, Balance balance);

struct IpvsScope {
  bool outside_only = false;                       // the connect hooks serve local clients
  std::function<bool(const IpAddress&)> is_local;  // an address of this host
};

struct IpvsTarget {
  std::vector<ipvs::ServiceId> ids;
  std::map<ipvs::ServiceId, std::vector<ipvs::RealServer>> servers;  // sorted by address
  std::map<Address, std::string> refused;                            // and why
  std::set<ServiceKey> laundered;
};
// What `service` shall be. `entry` has its mark, its laundering and the virtual services that exist: they stay
// while the service runs out (no addresses), so that open connections are kept.
[[nodiscard]] IpvsTarget ipvs_target(const ProgrammedService& service, const IpvsEntry& entry,
                                     const IpvsScope& scope);

// The rules for all of them. Local clients are marked and laundered unless `outside_only`.
[[nodiscard]] nft::IpvsRules ipvs_rules(const std::map<ServiceKey, IpvsEntry>& entries,
                                        bool outside_only, bool guard_forwarding);

}  // namespace lb
