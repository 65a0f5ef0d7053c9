#include "dataplane/ipvs_entry.h"

#include <linux/ip_vs.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "dataplane/launder_addresses.h"

namespace lb {
namespace {

using ipvs::ServiceId;

std::string_view scheduler_of(Balance balance) {
  switch (balance) {
    case Balance::LeastConn:
    case Balance::P2c:
      return "wlc";
    case Balance::Random:
    case Balance::RoundRobin:
      return "wrr";
    case Balance::SourceHash:
      return "mh";
  }
  return "wlc";
}

bool has_backend(const ProgrammedService& service, bool v4) {
  return std::any_of(service.backends.begin(), service.backends.end(),
                     [&](const ProgrammedBackend& b) { return b.address.ip.is_v4() == v4; });
}

ServiceId id_at(const ProgrammedService& service, const IpvsEntry& entry,
                const IpAddress& address) {
  if (entry.mark != 0) return ServiceId::of_mark(entry.mark, !address.is_v4());
  return ServiceId::of({service.key.protocol, address, service.key.port});
}

// One per loopback address, or one per family behind the mark. The family that the service was not
// named for (the alias ::1) exists only where backends of it do: IPVS cannot cross families.
std::set<ServiceId> ids_of(const ProgrammedService& service, const IpvsEntry& entry) {
  std::set<ServiceId> out;
  for (const IpAddress& address : service.addresses)
    if (address.is_v4() == service.key.address.is_v4() || has_backend(service, address.is_v4()))
      out.insert(id_at(service, entry, address));
  // While it runs out it keeps what it has; an alias whose backends have gone does so as well.
  out.insert(entry.ids.begin(), entry.ids.end());
  return out;
}

// Local clients of loopback addresses, by name or through 0.0.0.0 and ::.
std::set<ServiceKey> laundered_by(const ProgrammedService& service, const IpvsEntry& entry,
                                  const std::set<ServiceId>& ids, const IpvsScope& scope) {
  std::set<ServiceKey> out = entry.laundered;
  if (scope.outside_only || !entry.launder) return out;
  for (const IpAddress& address : service.addresses)
    if (address.is_loopback() && ids.contains(id_at(service, entry, address)))
      out.insert({service.key.protocol, address, service.key.port});
  return out;
}

std::optional<std::string> refusal(const Address& backend, const IpvsEntry& entry,
                                   const IpvsScope& scope) {
  if (entry.mark != 0 && backend.ip.is_loopback())
    return "clients from outside cannot be sent to a loopback address: name an address of the host";
  if (entry.mark == 0 && !entry.launder && !scope.is_local(backend.ip))
    return "launder = false keeps this service to backends of this host";
  return std::nullopt;
}

}  // namespace

ipvs::VirtualService virtual_service(const ServiceId& id, Balance balance) {
  ipvs::VirtualService out{id, std::string(scheduler_of(balance)), 0, 0};
  constexpr std::uint32_t kMhFallback = IP_VS_SVC_F_SCHED1;  // else weight 0 refuses its clients
  if (balance == Balance::SourceHash) out.flags = kMhFallback;
  return out;
}

IpvsTarget ipvs_target(const ProgrammedService& service, const IpvsEntry& entry,
                       const IpvsScope& scope) {
  IpvsTarget out;
  const auto ids = ids_of(service, entry);
  out.ids.assign(ids.begin(), ids.end());
  out.laundered = laundered_by(service, entry, ids, scope);
  for (const ServiceId& id : ids) out.servers[id];
  for (const ProgrammedBackend& b : service.backends) {
    if (auto why = refusal(b.address, entry, scope)) {
      out.refused.emplace(b.address, *std::move(why));
      continue;
    }
    bool used = false;
    for (auto& [id, servers] : out.servers) {
      if (id.v6 == b.address.ip.is_v4()) continue;
      const std::uint32_t weight = service.addresses.empty() ? 0 : b.weight;
      servers.push_back({b.address, weight, ipvs::Forwarding::Masquerade});
      used = true;
    }
    if (!used)
      out.refused.emplace(b.address, fmt::format("{} backend of an {} service: IPVS cannot cross",
                                                 b.address.ip.is_v4() ? "IPv4" : "IPv6",
                                                 b.address.ip.is_v4() ? "IPv6" : "IPv4"));
  }
  return out;
}

nft::IpvsRules ipvs_rules(const std::map<ServiceKey, IpvsEntry>& entries, bool outside_only,
                          bool guard_forwarding) {
  nft::IpvsRules rules;
  rules.mark_local_clients = !outside_only;
  rules.guard_forwarding = guard_forwarding;
  for (const auto& [key, entry] : entries) {
    rules.laundered.insert(entry.laundered.begin(), entry.laundered.end());
    for (const ServiceId& id : entry.refusing)
      if (id.fwmark == 0) rules.refusing.insert({id.protocol, id.address, id.port});
    if (entry.mark == 0) continue;
    for (const IpAddress& address : entry.addresses) {
      const auto id = ServiceId::of_mark(entry.mark, !address.is_v4());
      const ServiceKey at{key.protocol, address, key.port};
      if (!entry.ids.contains(id) || (outside_only && address.is_loopback()) ||
          is_launder_address(address))
        continue;
      rules.marks.emplace(at, entry.mark);
      if (entry.withheld.contains(address)) rules.withheld.insert(at);
      if (!outside_only && entry.refusing.contains(id)) rules.refusing.insert(at);
    }
  }
  return rules;
}

}  // namespace lb
