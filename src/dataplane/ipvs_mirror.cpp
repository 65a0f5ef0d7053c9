#include "dataplane/ipvs_mirror.h"

#include <algorithm>
#include <iterator>

namespace lb {
namespace {

using ipvs::Command;
using ipvs::ServiceId;
using Kind = ipvs::Command::Kind;

bool same_but_for_counts(const MirroredService& a, const MirroredService& b) {
  return a.service == b.service && std::equal(a.servers.begin(), a.servers.end(), b.servers.begin(),
                                              b.servers.end(), [](const auto& x, const auto& y) {
                                                return x.second.server == y.second.server;
                                              });
}

std::map<Address, ipvs::ObservedServer> by_address(std::vector<ipvs::ObservedServer> servers) {
  std::map<Address, ipvs::ObservedServer> out;
  for (auto& server : servers) {
    const Address address = server.server.address;
    out.insert_or_assign(address, std::move(server));
  }
  return out;
}

void add_server_commands(const ipvs::VirtualService& service, const MirroredService* have,
                         const std::vector<ipvs::RealServer>& servers, std::vector<Command>& rising,
                         std::vector<Command>& falling) {
  std::set<Address> wanted;
  for (const ipvs::RealServer& server : servers) {
    wanted.insert(server.address);
    const auto* old = have == nullptr || !have->servers.contains(server.address)
                          ? nullptr
                          : &have->servers.at(server.address).server;
    if (old != nullptr && *old == server) continue;
    const bool falls = old != nullptr && server.weight < old->weight;
    (falls ? falling : rising)
        .push_back({old != nullptr ? Kind::SetServer : Kind::AddServer, service, server});
  }
  if (have == nullptr) return;
  for (const auto& [address, observed] : have->servers)
    if (!wanted.contains(address) && observed.server.weight != 0) {
      ipvs::RealServer leaving = observed.server;
      leaving.weight = 0;
      falling.push_back({Kind::SetServer, service, leaving});
    }
}

}  // namespace

Result<std::size_t> IpvsMirror::refresh(const std::set<ServiceId>& ours) {
  LB_TRY(const auto all, client_.services());
  std::vector<ServiceId> ids;
  std::map<ServiceId, MirroredService> fresh;
  for (const ipvs::VirtualService& service : all)
    if (ours.contains(service.id)) {
      ids.push_back(service.id);
      fresh[service.id].service = service;
    }
  LB_TRY(auto servers, client_.servers(ids));
  for (std::size_t i = 0; i < ids.size(); ++i)
    fresh.at(ids[i]).servers = by_address(std::move(servers[i]));
  std::size_t differ = 0;
  for (const auto& [id, before] : services_) {
    const auto now = fresh.find(id);
    if (now == fresh.end() || !same_but_for_counts(before, now->second)) ++differ;
  }
  services_ = std::move(fresh);
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
  std::vector<Command> services, commands, falling;
  for (const ServiceId& id : target.ids) {
    const MirroredService* have = find(id);
    const auto service = virtual_service(id, balance);
    if (have == nullptr)
      services.push_back({Kind::AddService, service});
    else if (have->service != service)
      services.push_back({Kind::SetService, service});
  }
  // In a call of their own: a service that turns out to be somebody else's must not get our servers.
  LB_TRY(Failures failures, send(services));
  for (const ServiceId& id : target.ids)
    if (const MirroredService* have = find(id))
      add_server_commands(have->service, have, target.servers.at(id), commands, falling);
  commands.insert(commands.end(), falling.begin(), falling.end());
  LB_TRY(Failures of_servers, send(commands));
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
  Failures failures;
  if (commands.empty()) return failures;
  LB_TRY(const auto results, client_.apply(commands));
  writes_ += commands.size();
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Command& command = commands[i];
    const bool removal = command.kind == Kind::RemoveServer || command.kind == Kind::RemoveService;
    const auto absent = [&] {
      const auto& code = results[i].error().code;
      return code == std::errc::no_such_process || code == std::errc::no_such_file_or_directory;
    };
    if (results[i] || (removal && absent())) {
      note_done(command);
      continue;
    }
    const bool exists = results[i].error().code == std::errc::file_exists;
    if (command.kind == Kind::AddService && exists)
      failures.foreign.insert(command.service.id);
    else
      failures.errors.push_back(results[i].error());
  }
  return failures;
}

void IpvsMirror::note_done(const Command& command) {
  const ServiceId& id = command.service.id;
  switch (command.kind) {
    case Kind::AddService:
    case Kind::SetService:
      services_[id].service = command.service;
      break;
    case Kind::RemoveService:
      services_.erase(id);
      break;
    case Kind::AddServer:
    case Kind::SetServer:
      services_[id].servers[command.server.address].server = command.server;
      break;
    case Kind::RemoveServer:
      services_[id].servers.erase(command.server.address);
      break;
  }
}

}  // namespace lb
