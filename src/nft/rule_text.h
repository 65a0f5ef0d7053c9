// What the rulesets of lbd have in common, as text for libnftables. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/service.h"

namespace lb::nft {

// The words in which the two families differ.
struct Family {
  std::string_view name;      // of the table, and of the header in a match: "ip", "ip6"
  std::string_view type;      // of an address in a set
  std::string_view loopback;  // what never comes from outside
  std::string_view launder;   // ipvs_rules.h
  bool v6;
};
extern const Family kV4, kV6;
[[nodiscard]] inline const Family& family_of(const IpAddress& address) {
  return address.is_v4() ? kV4 : kV6;
}

// "127.0.0.1 . tcp . 80"
[[nodiscard]] std::string element_of(const ServiceKey& key);
// "elements = { a, b }", one per line, so that an error names a short one; empty where there are none.
[[nodiscard]] std::string elements(const std::vector<std::string>& all);

// Nothing from outside gets at what is bound to loopback addresses, or at the launder address: also where
// somebody has set route_localnet. Before conntrack, so that answers to translated flows do not count.
[[nodiscard]] std::string guard_chain(const Family& family);
// Forwards the flows that were translated here, and nothing else: their answers only, or both
// directions.
[[nodiscard]] std::string forwarding_guard_chain(std::string_view ours);

// "add table ip NAME; delete table ip NAME": the table is absent after it, whatever was there.
[[nodiscard]] std::string without_table(const Family& family, const std::string& table);

}  // namespace lb::nft
