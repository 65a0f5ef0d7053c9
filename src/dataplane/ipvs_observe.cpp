// The IPVS dataplane: what the kernel has, connection by connection where that is needed.
#include <algorithm>
#include <cerrno>
#include <iterator>

#include <fmt/format.h>

#include "dataplane/ipvs_connections.h"
#include "dataplane/ipvs_parts.h"
#include "dataplane/launder_addresses.h"
#include "dataplane/socket_destroy.h"

namespace lb {

using ipvs::ServiceId;

Result<std::vector<ServiceKey>> IpvsDataplane::keys() {
  const std::vector<ServiceId> sentinel{ServiceId::of(ipvs_sentinel())};
  LB_TRY(const std::size_t differ, mirror_.refresh(sentinel));
  if (differ > 0) note_repair("the virtual service that keeps IPVS's hooks was removed");
  if (mirror_.find(sentinel.front()) == nullptr) LB_CHECK(keep_sentinel());
  std::vector<ServiceKey> out;
  for (const auto& [key, entry] : journal_.entries())
    if (is_there(key)) out.push_back(key);
  return out;
}

Result<Observed> IpvsDataplane::read_some(std::span<const ServiceKey> keys) {
  std::vector<const IpvsEntry*> entries;
  std::vector<ServiceId> ids;
  for (const ServiceKey& key : keys) {
    const auto it = journal_.entries().find(key);
    if (it == journal_.entries().end() || !is_there(key)) continue;
    entries.push_back(&it->second);
    if (fresh_.erase(key) == 0) ids.insert(ids.end(), it->second.ids.begin(), it->second.ids.end());
  }
  LB_TRY(const std::size_t differ, mirror_.refresh(ids));
  if (differ > 0)
    note_repair(fmt::format("{} virtual services were changed by another program", differ));
  Observed out;
  for (const IpvsEntry* entry : entries) out.services.push_back(observe(*entry));
  return out;
}

// Everything as the kernel has it; where two virtual services of one (the families of a wildcard, the alias) differ
// from each other or from what was asked, the difference shows, and the reconciler repairs it.
ObservedService IpvsDataplane::observe(const IpvsEntry& entry) const {
  ObservedService out{entry.key, entry.addresses, entry.balance, {}};
  std::map<Address, ObservedBackend> backends;
  for (const ServiceId& id : entry.ids) {
    const MirroredService* service = mirror_.find(id);
    if (service == nullptr) {
      if (entry.ids.size() > 1) out.addresses.clear();
      continue;
    }
    if (service->service != virtual_service(id, entry.balance))
      out.balance = entry.balance == Balance::LeastConn ? Balance::RoundRobin : Balance::LeastConn;
    for (const auto& [address, server] : service->servers) observe_server(entry, server, backends);
  }
  std::copy_if(entry.addresses.begin(), entry.addresses.end(), std::back_inserter(out.withheld),
               [&](const IpAddress& a) { return entry.withheld.contains(a); });
  if (const auto listed = listed_.find(entry.key); listed != listed_.end())
    for (const auto& [address, why] : listed->second.refused) {
      ObservedBackend& b = backends[address];
      b.address = address;
      b.listed = true;
      b.refused = why;
      b.weight = listed->second.weights.at(address);
    }
  for (auto& [address, backend] : backends) {
    backend.drained = backend.listed && entry.drained.contains(address);
    backend.unexplained = backend.listed && !entry.explained;
    if (backend.listed || backend.active_connections.value_or(0) > 0)
      out.backends.push_back(std::move(backend));
  }
  return out;
}

void IpvsDataplane::observe_server(const IpvsEntry& entry, const ipvs::ObservedServer& server,
                                   std::map<Address, ObservedBackend>& out) const {
  const Address& address = server.server.address;
  const auto listed = listed_.find(entry.key);
  ObservedBackend& b = out[address];
  const bool first = b.address == Address{};
  b.address = address;
  b.listed = listed != listed_.end() && listed->second.backends.contains(address);
  b.weight = first ? server.server.weight : std::min(b.weight, server.server.weight);
  if (!b.listed) b.weight = 0;
  b.total_connections += server.connections;
  if (entry.key.protocol == Protocol::Tcp)
    b.active_connections = b.active_connections.value_or(0) + server.active;
}

// Every flow that IPVS remembers: a client that has fallen silent is one until its timeout (5 minutes).
Result<std::uint64_t> IpvsDataplane::count_sockets(const ServiceKey& key, const Address& backend) {
  const auto it = journal_.entries().find(key);
  if (it == journal_.entries().end()) return 0;
  const std::vector<ServiceId> ids(it->second.ids.begin(), it->second.ids.end());
  LB_CHECK(mirror_.refresh_servers(ids));
  const bool udp = key.protocol == Protocol::Udp;  // its flows are never active
  std::uint64_t count = 0;
  for (const ServiceId& id : ids)
    if (const auto* service = mirror_.find(id))
      if (const auto server = service->servers.find(backend); server != service->servers.end())
        count += server->second.active + (udp ? server->second.inactive : 0);
  return count;
}

// Sockets of local clients are destroyed. Clients of other hosts are out of reach: theirs go on.
Result<std::uint64_t> IpvsDataplane::terminate(const ServiceKey& key, const Address& backend) {
  const auto it = journal_.entries().find(key);
  if (it == journal_.entries().end()) return 0;
  const auto& addresses = it->second.addresses;
  LB_TRY(const auto connections, read_ipvs_connections());
  std::vector<SocketPair> sockets;
  for (const IpvsConnection& c : connections) {
    if (c.protocol != key.protocol || c.server != backend || c.service.port != key.port ||
        c.is_over())
      continue;
    const bool ours = c.service.ip == key.address || std::find(addresses.begin(), addresses.end(),
                                                               c.service.ip) != addresses.end();
    if (ours) sockets.push_back({{unlaundered(c.client.ip), c.client.port}, c.service});
  }
  return destroy_sockets(key.protocol, sockets);
}

DataplaneInfo IpvsDataplane::info() const {
  DataplaneInfo out;
  out.mode = "ipvs";
  out.notes = notes_;
  out.writes = mirror_.writes() + tables_.writes();
  for (const auto& [key, entry] : journal_.entries())
    if (key != ipvs_sentinel()) ++out.used_services;
  for (const auto& [key, listed] : listed_) {
    out.used_backends += listed.backends.size();
    for (const auto& [address, why] : listed.refused)
      out.notes.push_back(
          fmt::format("{}: {} is not used: {}", key.to_string(), address.to_string(), why));
  }
  if (repairs_ > 0)
    out.notes.push_back(fmt::format("somebody else's changes were put right {} times", repairs_));
  return out;
}

}  // namespace lb
