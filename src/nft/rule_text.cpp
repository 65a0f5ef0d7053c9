#include "nft/rule_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nft/ipvs_rules.h"

namespace lb::nft {

const Family kV4{.name = "ip",
                 .type = "ipv4_addr",
                 .loopback = "127.0.0.0/8",
                 .launder = kLaunderV4,
                 .v6 = false};
const Family kV6{
    .name = "ip6", .type = "ipv6_addr", .loopback = "::1", .launder = kLaunderV6, .v6 = true};

std::string element_of(const ServiceKey& key) {
  return fmt::format("{} . {} . {}", key.address.to_string(), to_string(key.protocol), key.port);
}

std::string elements(const std::vector<std::string>& all) {
  if (all.empty()) return {};
  return fmt::format("  elements = {{\n{}\n  }}\n", fmt::join(all, ",\n"));
}

// Each packet of every client passes here: four comparisons cost a quarter of two look-ups in sets of intervals.
std::string guard_chain(const Family& family) {
  return fmt::format(
      " chain guard {{ type filter hook prerouting priority -300;\n"
      "  iifname \"lo\" accept\n"
      "  {0} daddr {1} drop\n"
      "  {0} daddr {2} drop\n"
      "  {0} saddr {1} drop\n"
      "  {0} saddr {2} drop\n"
      " }}\n",
      family.name, family.loopback, family.launder);
}

std::string forwarding_guard_chain(std::string_view ours) {
  return fmt::format(
      " chain forward_ours {{ type filter hook forward priority 0;\n"
      "  {} accept\n"
      "  drop\n"
      " }}\n",
      ours);
}

std::string without_table(const Family& family, const std::string& table) {
  return fmt::format("add table {0} {1}\ndelete table {0} {1}\n", family.name, table);
}

}  // namespace lb::nft
