#include "nft/ipvs_rules.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nft/rule_text.h"

namespace lb::nft {
namespace {

// The sets and maps of one family, each a list of sorted elements.
struct Elements {
  std::vector<std::string> laundered, marks, withheld, refusing;
};

Elements elements_of(const IpvsRules& rules, const Family& family) {
  Elements out;
  for (const ServiceKey& key : rules.laundered)
    if (&family_of(key.address) == &family) out.laundered.push_back(element_of(key));
  for (const ServiceKey& key : rules.withheld)
    if (&family_of(key.address) == &family) out.withheld.push_back(element_of(key));
  for (const ServiceKey& key : rules.refusing)
    if (&family_of(key.address) == &family) out.refusing.push_back(element_of(key));
  for (const auto& [key, mark] : rules.marks)
    if (&family_of(key.address) == &family)
      out.marks.push_back(fmt::format("{} : 0x{:08x}", element_of(key), mark));
  for (auto* list : {&out.laundered, &out.marks, &out.withheld, &out.refusing})
    std::sort(list->begin(), list->end());
  return out;
}

std::string sets(const Family& family, const Elements& all) {
  return fmt::format(
      " set laundered {{ type {0} . inet_proto . inet_service;\n{1} }}\n"
      " map marks {{ type {0} . inet_proto . inet_service : mark;\n{2} }}\n"
      " set withheld {{ type {0} . inet_proto . inet_service;\n{3} }}\n"
      " set refusing {{ type {0} . inet_proto . inet_service;\n{4} }}\n",
      family.type, elements(all.laundered), elements(all.marks), elements(all.withheld),
      elements(all.refusing));
}

// A packet without an element keeps the mark that it has: the look-up ends the rule.
std::string marking_rule(const Family& family, std::string_view only) {
  return fmt::format("  {}meta mark set {} daddr . meta l4proto . th dport map @marks\n", only,
                     family.name);
}

// IPVS answers a SYN that it has no server for by an ICMP error. On loopback that comes back while connect() still holds the
// socket, and is put off until the SYN is sent again, a second later; a reset is not.
std::string refusing_chain(const Family& family) {
  return fmt::format(
      " chain refuse {{ type filter hook output priority -320;\n"
      "  tcp flags & (syn | ack) == syn {} daddr . meta l4proto . th dport @refusing reject with "
      "tcp reset\n"
      " }}\n",
      family.name);
}

std::string marking_chains(const Family& family, bool local_clients) {
  std::string out =
      " chain mark_outside { type filter hook prerouting priority -150;\n" +
      fmt::format("  {} daddr . meta l4proto . th dport @withheld accept\n", family.name) +
      marking_rule(family, "iifname != \"lo\" ") + " }\n";
  if (local_clients)
    out += " chain mark_local { type filter hook output priority -150;\n" +
           marking_rule(family, "") + " }\n";
  return out;
}

// An ICMP error comes to the launder address with the packet that it is about: its source was ours, at
// a fixed place behind the 8 bytes of the ICMP header.
std::string error_rule(const Family& family) {
  if (family.v6)
    return "  icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, "
           "parameter-problem } @th,128,128 0xfd770000000000000000000000000289 @th,256,128 0x1 "
           "@th,128,128 set 0x1 ip6 daddr set ::1\n";
  return "  icmp type { destination-unreachable, time-exceeded, parameter-problem } "
         "@th,160,32 0xa9fed502 @th,192,8 0x7f @th,160,32 set 0x7f000001 ip daddr set 127.0.0.1\n";
}

// Before conntrack (-200) and IPVS (-98), and back after IPVS's own input hooks (98, 99). The client's
// address is 127.0.0.1 whatever address of 127/8 it connects to: route selection gives it that one.
std::string laundering_chains(const Family& family) {
  const std::string_view client = family.v6 ? "::1" : "127.0.0.1";
  return fmt::format(
             " chain launder {{ type filter hook output priority -310;\n"
             "  {0} saddr {1} {0} daddr . meta l4proto . th dport @laundered {0} saddr set {2}\n"
             " }}\n"
             " chain input {{ type filter hook input priority 150;\n"
             "  {0} daddr {2} jump back\n"
             " }}\n"
             " chain back {{\n"
             "  {0} saddr {3} meta l4proto {{ tcp, udp }} {0} daddr set {1}\n",
             family.name, client, family.launder, family.loopback) +
         error_rule(family) + " }\n";
}

std::string masquerading_chain(const Family& family) {
  return fmt::format(
      " chain masquerade_ours {{ type nat hook postrouting priority 100;\n"
      "  {} saddr {} oifname != \"lo\" masquerade\n"
      "  meta mark & 0x{:08x} == 0x{:08x} oifname != \"lo\" masquerade\n"
      " }}\n",
      family.name, family.launder, kMarkMask, kMarkBase);
}

std::string render_family(const Family& family, const std::string& table, const IpvsRules& rules) {
  std::string out = without_table(family, table);
  out += fmt::format("table {} {} {{\n", family.name, table);
  out += sets(family, elements_of(rules, family));
  out += guard_chain(family);
  out += refusing_chain(family);
  out += marking_chains(family, rules.mark_local_clients);
  out += laundering_chains(family);
  out += masquerading_chain(family);
  // The answers alone are forwarded: what goes to a backend leaves from IPVS's input hook.
  if (rules.guard_forwarding) out += forwarding_guard_chain("ct direction reply ct status snat");
  return out + "}\n";
}

struct SetChange {
  const Family& family;
  const std::string& table;
  std::string_view set;
};

void append(std::string& out, std::string_view verb, const SetChange& at,
            const std::vector<std::string>& changed) {
  if (!changed.empty())
    out += fmt::format("{} element {} {} {} {{\n{}\n}}\n", verb, at.family.name, at.table, at.set,
                       fmt::join(changed, ",\n"));
}

void append_change(std::string& out, const SetChange& at, const std::vector<std::string>& from,
                   const std::vector<std::string>& to) {
  std::vector<std::string> gone, come;
  std::set_difference(from.begin(), from.end(), to.begin(), to.end(), std::back_inserter(gone));
  std::set_difference(to.begin(), to.end(), from.begin(), from.end(), std::back_inserter(come));
  append(out, "delete", at, gone);  // first: an element may come back with another mark
  append(out, "add", at, come);
}

}  // namespace

std::string render(const std::string& table, const IpvsRules& rules) {
  return render_family(kV4, table, rules) + render_family(kV6, table, rules);
}

std::string render_change(const std::string& table, const IpvsRules& from, const IpvsRules& to) {
  if (from.mark_local_clients != to.mark_local_clients ||
      from.guard_forwarding != to.guard_forwarding)
    return render(table, to);
  std::string out;
  for (const Family* family : {&kV4, &kV6}) {
    const Elements before = elements_of(from, *family), after = elements_of(to, *family);
    append_change(out, {*family, table, "laundered"}, before.laundered, after.laundered);
    append_change(out, {*family, table, "marks"}, before.marks, after.marks);
    append_change(out, {*family, table, "withheld"}, before.withheld, after.withheld);
    append_change(out, {*family, table, "refusing"}, before.refusing, after.refusing);
  }
  return out;
}

}  // namespace lb::nft
