#include "dataplane/ipvs_mirror.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace lb {
namespace {

using ipvs::Command;
using ipvs::ServiceId;
using Kind = ipvs::Command::Kind;

std::map<Address, ipvs::ObservedServer> by_address(std::vector<ipvs::ObservedServer> servers) {
  std::map<Address, ipvs::ObservedServer> out;
  for (auto& server : servers) {
    const Address address = server.server.address;
    out.insert_or_assign(address, std::move(server));
  }
  return out;
}

}  // namespace

Result<std::size_t> IpvsMirror::refresh(std::span<const ServiceId> ids) {
  LB_TRY(const auto found, client_.services(ids));
  LB_TRY(auto servers, client_.servers(ids));
  MirroredServices before, fresh;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (auto node = services_.extract(ids[i])) before.insert(std::move(node));
    if (found[i]) fresh[ids[i]] = {*found[i], by_address(std::move(servers[i]))};
  }
  const std::size_t differ = count_changed(before, fresh);
  services_.merge(fresh);
  return differ;
}

Result<> IpvsMirror::refresh_servers(std::span<const ServiceId> ids) {
  LB_TRY(auto servers, client_.servers(ids));
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (const auto it = services_.find(ids[i]); it != services_.end())
      it->second.servers = by_address(std::move(servers[i]));
  return {};
}

const MirroredService* IpvsMirror::find(const ServiceId& id) const {
  const auto it = services_.find(id);
  return it == services_.end() ? nullptr : &it->second;
}

Result<std::vector<ipvs::VirtualService>> IpvsMirror::others(const std::set<ServiceId>& ours) {
  LB_TRY(auto all, client_.services());
  std::erase_if(all, [&](const ipvs::VirtualService& s) { return ours.contains(s.id); });
  return all;
}

Result<IpvsMirror::Failures> IpvsMirror::program(const IpvsTarget& target, Balance balance) {
  // In a call of their own: a service that turns out to be another tool's must not get our servers.
  LB_TRY(Failures failures, send(service_commands(services_, target, balance)));
  LB_TRY(Failures of_servers, send(server_commands(services_, target)));
  std::move(of_servers.errors.begin(), of_servers.errors.end(),
            std::back_inserter(failures.errors));
  return failures;
}

Result<IpvsMirror::Failures> IpvsMirror::remove_servers(
    std::span<const std::pair<ServiceId, Address>> servers) {
  std::vector<Command> commands;
  for (const auto& [id, address] : servers)
    commands.push_back({Kind::RemoveServer, {id, {}}, {address, 0}});
  return send(commands);
}

Result<IpvsMirror::Failures> IpvsMirror::remove_services(std::span<const ServiceId> ids) {
  std::vector<Command> commands;
  for (const ServiceId& id : ids) commands.push_back({Kind::RemoveService, {id, {}}});
  return send(commands);
}

Result<IpvsMirror::Failures> IpvsMirror::add_service(const ipvs::VirtualService& service) {
  return send({{Kind::AddService, service}});
}

Result<IpvsMirror::Failures> IpvsMirror::send(const std::vector<Command>& commands) {
  if (commands.empty()) return Failures{};
  LB_TRY(const auto results, client_.apply(commands));
  writes_ += commands.size();
  return note_results(commands, results, services_);
}

}  // namespace lb
