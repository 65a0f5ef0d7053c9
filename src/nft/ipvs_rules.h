// The rules that IPVS needs beside it, as text for libnftables. Pure.
//
// Source laundering: IPVS drops a packet from a loopback source to a destination that is not on this host
// (crosses_local_route_boundary() in net/netfilter/ipvs/ip_vs_xmit.c, Linux 6.1 to 6.12). So the source of local clients becomes
// 169.254.213.2 (fd77::289) before conntrack and IPVS see the packet, and 127.0.0.1 (::1) again after
// them. The launder addresses have the same one's-complement sum as the loopback ones, so they can be
// exchanged inside the packet that an ICMP error quotes, too.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "model/service.h"

namespace lb::nft {

constexpr auto kLaunderV4 = "169.254.213.2";  // /32 on lo, scope host
constexpr auto kLaunderV6 = "fd77::289";      // /128 on lo

struct IpvsRules {
  // Where the local clients of services are laundered: addresses in 127/8 or ::1.
  std::set<ServiceKey> laundered{};
  // The addresses of published services, and their firewall marks. An IPv4 and an IPv6 address may share a mark.
  std::map<ServiceKey, std::uint32_t> marks{};
  // Of these, where clients of other hosts are not marked: what they send there is the host's own.
  std::set<ServiceKey> withheld{};
  // Where no server is in use: local clients' connects are answered with a reset.
  std::set<ServiceKey> refusing{};
  // Local clients are marked, too. Off where the connect hooks serve them.
  bool mark_local_clients = true;
  // Forwards the answers to masqueraded clients and drops all other forwarding: where forwarding was off before lbd came.
  bool guard_forwarding = false;

  bool operator==(const IpvsRules&) const = default;
};

// The marks of lbd's: 0x5a000000 with the service's number in the low 24 bits.
constexpr std::uint32_t kMarkBase = 0x5a000000, kMarkMask = 0xff000000;

// One transaction that makes the tables `ip NAME` and `ip6 NAME` exactly this, whatever they were.
[[nodiscard]] std::string render(const std::string& table, const IpvsRules& rules);
// One that takes them from `from` to `to`, in proportion to what differs (set and map elements); the
// same as render() where more than elements differs. Empty when nothing does.
[[nodiscard]] std::string render_change(const std::string& table, const IpvsRules& from,
                                        const IpvsRules& to);

}  // namespace lb::nft
