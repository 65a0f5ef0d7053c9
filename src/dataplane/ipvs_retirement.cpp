#include "dataplane/ipvs_retirement.h"

#include <algorithm>

namespace lb {
namespace {

// Of a marked service the address is whatever its clients used: any connection to the server counts.
bool runs_over(const IpvsConnection& connection, const IpvsRetirement::Id& id) {
  const ipvs::ServiceId& service = id.first;
  return connection.server == id.second &&
         (service.fwmark != 0 || (connection.protocol == service.protocol &&
                                  connection.service == Address{service.address, service.port}));
}

}  // namespace

void IpvsRetirement::begin(Clock::time_point now) {
  now_ = now;
  connections_.reset();
  if (now - second_ < std::chrono::seconds(1)) return;
  second_ = now;
  budget_ = kAtOnce;
}

Result<IpvsRetirement::Choice> IpvsRetirement::choose(std::span<const IpvsServer> servers,
                                                      const std::set<Address>& listed) {
  Choice out;
  for (const IpvsServer& server : servers) {
    const Id id{server.service, server.observed.server.address};
    if (listed.contains(id.second)) {
      idle_since_.erase(id);
      continue;
    }
    LB_TRY(const bool goes, is_unused(id, server.observed));
    if (goes && out.unused.size() < budget_)
      out.unused.push_back(id);
    else
      out.left = true;
  }
  budget_ -= out.unused.size();
  for (const Id& id : out.unused) idle_since_.erase(id);
  return out;
}

Result<bool> IpvsRetirement::is_unused(const Id& id, const ipvs::ObservedServer& server) {
  if (server.active > 0 || server.server.weight > 0) {
    idle_since_.erase(id);
    return false;
  }
  if (server.inactive == 0) return true;
  const auto since = idle_since_.try_emplace(id, now_).first->second;
  if (now_ - since < (list_is_long_ ? kTimeWait : kFarewell)) return false;
  LB_TRY(const bool open, has_open_connections(id));
  return !open;
}

Result<bool> IpvsRetirement::has_open_connections(const Id& id) {
  if (!connections_) {
    LB_TRY(connections_, read_connections_());
    list_is_long_ = connections_->size() > kFew;
  }
  return std::any_of(connections_->begin(), connections_->end(),
                     [&](const IpvsConnection& c) { return runs_over(c, id) && !c.is_over(); });
}

}  // namespace lb
