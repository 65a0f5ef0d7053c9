#include "dataplane/ipvs_retirement.h"

#include <algorithm>

namespace lb {

void IpvsRetirement::begin(Clock::time_point now) {
  now_ = now;
  connections_.reset();
  if (now - second_ < std::chrono::seconds(1)) return;
  second_ = now;
  budget_ = kAtOnce;
}

Result<bool> IpvsRetirement::look(IpvsMirror& mirror, std::span<const ipvs::ServiceId> ids,
                                  const std::set<Address>& listed) {
  std::vector<ipvs::ServiceId> with_leavers;
  for (const ipvs::ServiceId& id : ids)
    if (const auto* service = mirror.find(id))
      if (std::any_of(service->servers.begin(), service->servers.end(),
                      [&](const auto& entry) { return !listed.contains(entry.first); }))
        with_leavers.push_back(id);
  if (with_leavers.empty()) return false;
  LB_CHECK(mirror.refresh_servers(with_leavers));
  std::vector<Id> unused;
  bool left = false;
  for (const ipvs::ServiceId& id : with_leavers)
    for (const auto& [address, server] : mirror.find(id)->servers) {
      if (listed.contains(address)) {
        idle_since_.erase({id, address});
        continue;
      }
      LB_TRY(const bool goes, is_unused({id, address}, server));
      if (goes && unused.size() < budget_)
        unused.emplace_back(id, address);
      else
        left = true;
    }
  budget_ -= unused.size();
  LB_TRY(const auto failures, mirror.remove_servers(unused));
  for (const Id& id : unused) idle_since_.erase(id);
  if (!failures.errors.empty()) return tl::unexpected(failures.errors.front());
  return left;
}

Result<bool> IpvsRetirement::is_unused(const Id& id, const ipvs::ObservedServer& server) {
  if (server.active > 0 || server.server.weight > 0) {
    idle_since_.erase(id);
    return false;
  }
  if (server.inactive == 0) return true;
  const auto since = idle_since_.try_emplace(id, now_).first->second;
  if (now_ - since < (listing_is_dear_ ? kTimeWait : kFarewell)) return false;
  LB_TRY(const bool alive, is_alive(id));
  return !alive;
}

Result<bool> IpvsRetirement::is_alive(const Id& id) {
  if (!connections_) {
    LB_TRY(connections_, read_ipvs_connections());
    listing_is_dear_ = connections_->size() > kFew;
  }
  // Of a marked service the address is whatever its clients used: any connection to the server counts.
  return std::any_of(connections_->begin(), connections_->end(), [&](const IpvsConnection& c) {
    return c.server == id.second && !c.is_over() &&
           (id.first.fwmark != 0 || (c.protocol == id.first.protocol &&
                                     c.service == Address{id.first.address, id.first.port}));
  });
}

}  // namespace lb
