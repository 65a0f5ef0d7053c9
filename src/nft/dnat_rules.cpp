#include "nft/dnat_rules.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nft/rule_text.h"

namespace lb::nft {
namespace {

// What one service is in one family. Equal values, equal rules.
struct ServiceRules {
  std::string chain;
  std::vector<std::string> rules;      // of the chain; none: it is not in this family
  std::vector<std::string> frontends;  // elements of the verdict map
  std::vector<std::pair<std::string, std::string>> shared;  // set and element

  bool operator==(const ServiceRules&) const = default;
};

// A name that the grammar takes for one: an IPv6 address's colons are none of its letters.
std::string chain_of(const ServiceKey& key) {
  std::string address = key.address.to_string();
  std::replace(address.begin(), address.end(), ':', '_');
  return fmt::format("{}-{}-{}", to_string(key.protocol), address, key.port);
}

bool serves(const Family& family, const IpAddress& address) {
  return !address.is_loopback() && &family_of(address) == &family;
}

std::vector<ProgrammedBackend> takers(const ProgrammedService& service, const Family& family) {
  std::vector<ProgrammedBackend> out;
  for (const ProgrammedBackend& b : service.backends)
    if (b.weight > 0 && serves(family, b.address.ip)) out.push_back(b);
  return out;
}

// FNV-1a: the same for every lbd, so that a client meets the same backend after a restart.
std::uint32_t seed_of(const Address& backend) {
  std::uint32_t hash = 2166136261U;
  const auto eat = [&](unsigned byte) { hash = (hash ^ byte) * 16777619U; };
  for (const std::uint8_t byte : backend.ip.bytes()) eat(byte);
  eat(backend.port >> 8U);
  eat(backend.port & 0xffU);
  return hash;
}

// The condition under which this one is taken, after all before it were not: `left` is the weight of
// it and those behind it. Exact for numgen. A hash of the client with a seed of each backend's own: clients of
// backends that stay mostly keep theirs when another one goes.
std::string condition(Balance balance, const Family& family, const ProgrammedBackend& backend,
                      std::uint64_t left) {
  if (balance == Balance::SourceHash) {
    constexpr std::uint64_t kSteps = 1U << 16U;
    const std::uint64_t share = std::max<std::uint64_t>(1, backend.weight * kSteps / left);
    return fmt::format("jhash {} saddr mod {} seed 0x{:08x} < {} ", family.name, kSteps,
                       seed_of(backend.address), share);
  }
  return fmt::format("numgen {} mod {} < {} ", balance == Balance::RoundRobin ? "inc" : "random",
                     left, backend.weight);
}

// A packet from the middle of a connection that connection tracking does not know. A process of this host may have it, from before
// lbd took the port over: then it goes there. Else its translation was ended, or is older than this host's memory: it must not
// begin again in the middle with another backend.
std::vector<std::string> mid_stream_rules(bool knows_sockets) {
  constexpr std::string_view kMiddle = "tcp flags & (fin | syn | rst | ack) != syn ";
  if (!knows_sockets) return {fmt::format("{}accept", kMiddle)};
  return {fmt::format("{}socket transparent <= 1 accept", kMiddle),  // true of every socket
          fmt::format("{}reject with tcp reset", kMiddle)};
}

std::vector<std::string> choosing_rules(const ProgrammedService& service, const Family& family,
                                        bool knows_sockets) {
  const auto backends = takers(service, family);
  const bool tcp = service.key.protocol == Protocol::Tcp;
  std::vector<std::string> rules;
  if (tcp) rules = mid_stream_rules(knows_sockets);
  if (backends.empty()) {
    rules.emplace_back(tcp ? "meta l4proto tcp reject with tcp reset" : "reject");
    return rules;
  }
  std::uint64_t left = 0;
  for (const ProgrammedBackend& b : backends) left += b.weight;
  for (const ProgrammedBackend& b : backends) {
    const bool last = &b == &backends.back();
    rules.push_back(fmt::format("meta l4proto {} {}dnat to {}", to_string(service.key.protocol),
                                last ? "" : condition(service.balance, family, b, left),
                                b.address.to_string()));
    left -= b.weight;
  }
  return rules;
}

ServiceRules rules_of(const ProgrammedService& service, const Family& family, bool knows_sockets) {
  ServiceRules out;
  out.chain = chain_of(service.key);
  for (const IpAddress& address : service.addresses) {
    if (!serves(family, address)) continue;
    const ServiceKey at{service.key.protocol, address, service.key.port};
    out.frontends.push_back(fmt::format("{} : goto {}", element_of(at), out.chain));
  }
  if (out.frontends.empty()) return out;
  out.rules = choosing_rules(service, family, knows_sockets);
  out.shared.emplace_back(fmt::format("published_{}", to_string(service.key.protocol)),
                          std::to_string(service.key.port));
  // Those of weight 0 too: a packet may be on its way there.
  for (const ProgrammedBackend& b : service.backends)
    if (serves(family, b.address.ip))
      out.shared.emplace_back("targets",
                              element_of({service.key.protocol, b.address.ip, b.address.port}));
  return out;
}

// Only what was translated here: the port that the client meant, and where it was sent.
std::string masquerading_rule(const Family& family, Protocol protocol) {
  return fmt::format(
      "  oifname != \"lo\" ct status dnat meta l4proto {1} ct original proto-dst @published_{1} "
      "{0} daddr . meta l4proto . th dport @targets masquerade\n",
      family.name, to_string(protocol));
}

std::string frame(const Family& family, bool guard_forwarding) {
  std::string out = fmt::format(
      " map services {{ type {0} . inet_proto . inet_service : verdict; }}\n"
      " set published_tcp {{ type inet_service; }}\n"
      " set published_udp {{ type inet_service; }}\n"
      " set targets {{ type {0} . inet_proto . inet_service; }}\n",
      family.type);
  out += guard_chain(family);
  out += fmt::format(
      " chain outside {{ type nat hook prerouting priority -100;\n"
      "  iifname \"lo\" return\n"
      "  {} daddr . meta l4proto . th dport vmap @services\n"
      " }}\n",
      family.name);
  out += " chain masquerade_ours { type nat hook postrouting priority 100;\n" +
         masquerading_rule(family, Protocol::Tcp) + masquerading_rule(family, Protocol::Udp) +
         " }\n";
  if (guard_forwarding) out += forwarding_guard_chain("ct status dnat");
  return out;
}

// The parts of a transaction, in the order in which the kernel must do them.
struct Edit {
  std::map<std::string, std::vector<std::string>> gone, come;  // elements, by "FAMILY NAME SET"
  std::string filled, dropped;                                 // chains

  [[nodiscard]] std::string text() const {
    return verbs("delete", gone) + filled + verbs("add", come) + dropped;
  }

 private:
  static std::string verbs(std::string_view verb,
                           const std::map<std::string, std::vector<std::string>>& elements) {
    std::string out;
    for (const auto& [set, all] : elements)
      out += fmt::format("{} element {} {{\n{}\n}}\n", verb, set, fmt::join(all, ",\n"));
    return out;
  }
};

std::vector<std::string> without(std::vector<std::string> all, std::vector<std::string> those) {
  std::sort(all.begin(), all.end());
  std::sort(those.begin(), those.end());
  std::vector<std::string> out;
  std::set_difference(all.begin(), all.end(), those.begin(), those.end(), std::back_inserter(out));
  return out;
}

void edit_chain(Edit& edit, const std::string& table, const ServiceRules& from,
                const ServiceRules& to) {
  if (from.rules == to.rules) return;
  const std::string chain = fmt::format("{} {}", table, to.rules.empty() ? from.chain : to.chain);
  if (to.rules.empty()) {
    edit.dropped += fmt::format("flush chain {0}\ndelete chain {0}\n", chain);
    return;
  }
  edit.filled += fmt::format("add chain {0}\nflush chain {0}\n", chain);
  for (const std::string& rule : to.rules)
    edit.filled += fmt::format("add rule {} {}\n", chain, rule);
}

void edit_frontends(Edit& edit, const std::string& table, const ServiceRules& from,
                    const ServiceRules& to) {
  const std::string map = table + " services";
  for (auto& element : without(from.frontends, to.frontends)) edit.gone[map].push_back(element);
  for (auto& element : without(to.frontends, from.frontends)) edit.come[map].push_back(element);
}

}  // namespace

bool is_published(const ServiceKey& key) { return !key.address.is_loopback(); }

std::string refusal(const std::vector<IpAddress>& addresses, const Address& backend) {
  if (backend.ip.is_loopback())
    return "clients from other hosts cannot be sent to a loopback address: the kernel drops such "
           "packets; give the backend the host's own address";
  const auto any = [&](const Family& family) {
    return std::any_of(addresses.begin(), addresses.end(),
                       [&](const IpAddress& address) { return serves(family, address); });
  };
  if (any(family_of(backend.ip)) || !any(backend.ip.is_v4() ? kV6 : kV4)) return {};
  return backend.ip.is_v4() ? "clients from other hosts come by IPv6, and this backend has IPv4"
                            : "clients from other hosts come by IPv4, and this backend has IPv6";
}

std::string DnatTable::replace(const DnatServices& services, bool guard_forwarding) {
  uses_.clear();
  if (services.empty()) return without_table(kV4, name_) + without_table(kV6, name_);
  std::string out;
  for (const Family* family : {&kV4, &kV6})
    out += without_table(*family, name_) + fmt::format("table {} {} {{\n", family->name, name_) +
           frame(*family, guard_forwarding) + "}\n";
  return out + change({}, services);
}

std::string DnatTable::change(const DnatServices& before, const DnatServices& after) {
  std::set<ServiceKey> keys;
  for (const auto& [key, service] : before) keys.insert(key);
  for (const auto& [key, service] : after) keys.insert(key);
  static const ProgrammedService kNone;
  const auto in = [](const DnatServices& services, const ServiceKey& key) -> const auto& {
    const auto it = services.find(key);
    return it == services.end() ? kNone : it->second;
  };
  Edit edit;
  Uses were;  // of what is touched
  for (const ServiceKey& key : keys)
    for (const Family* family : {&kV4, &kV6}) {
      const ServiceRules from = rules_of(in(before, key), *family, knows_sockets_);
      const ServiceRules to = rules_of(in(after, key), *family, knows_sockets_);
      if (from == to) continue;
      const std::string table = fmt::format("{} {}", family->name, name_);
      edit_frontends(edit, table, from, to);
      edit_chain(edit, table, from, to);
      account(table, from.shared, to.shared, were);
    }
  for (const auto& [element, was] : were) {
    const auto now = uses_.find(element);
    const bool used = now->second > 0;
    if (!used) uses_.erase(now);
    if (used != (was > 0)) (used ? edit.come : edit.gone)[element.first].push_back(element.second);
  }
  return edit.text();
}

void DnatTable::account(const std::string& table, const Shared& from, const Shared& to,
                        Uses& were) {
  const auto uses = [&](const auto& each) -> std::size_t& {
    const std::pair element(table + ' ' + each.first, each.second);
    auto& count = uses_[element];
    were.try_emplace(element, count);
    return count;
  };
  for (const auto& each : to) ++uses(each);
  for (const auto& each : from) --uses(each);
}

}  // namespace lb::nft
