#include "dataplane/ipvs_commands.h"

#include <algorithm>

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

void add_server_commands(const MirroredService& have, const std::vector<ipvs::RealServer>& servers,
                         std::vector<Command>& rising, std::vector<Command>& falling) {
  std::set<Address> wanted;
  for (const ipvs::RealServer& server : servers) {
    wanted.insert(server.address);
    const auto it = have.servers.find(server.address);
    const ipvs::RealServer* old = it == have.servers.end() ? nullptr : &it->second.server;
    if (old != nullptr && *old == server) continue;
    const bool falls = old != nullptr && server.weight < old->weight;
    (falls ? falling : rising)
        .push_back({old != nullptr ? Kind::SetServer : Kind::AddServer, have.service, server});
  }
  for (const auto& [address, observed] : have.servers)
    if (!wanted.contains(address) && observed.server.weight != 0) {
      ipvs::RealServer leaving = observed.server;
      leaving.weight = 0;
      falling.push_back({Kind::SetServer, have.service, leaving});
    }
}

void note_done(const Command& command, MirroredServices& services) {
  const ServiceId& id = command.service.id;
  switch (command.kind) {
    case Kind::AddService:
    case Kind::SetService:
      services[id].service = command.service;
      break;
    case Kind::RemoveService:
      services.erase(id);
      break;
    case Kind::AddServer:
    case Kind::SetServer:
      services[id].servers[command.server.address].server = command.server;
      break;
    case Kind::RemoveServer:
      services[id].servers.erase(command.server.address);
      break;
  }
}

bool is_absent(const Error& error) {
  return error.code == std::errc::no_such_process ||
         error.code == std::errc::no_such_file_or_directory;
}

}  // namespace

std::size_t count_changed(const MirroredServices& before, const MirroredServices& now) {
  return static_cast<std::size_t>(
      std::count_if(before.begin(), before.end(), [&](const auto& entry) {
        const auto it = now.find(entry.first);
        return it == now.end() || !same_but_for_counts(entry.second, it->second);
      }));
}

std::vector<Command> service_commands(const MirroredServices& have, const IpvsTarget& target,
                                      Balance balance) {
  std::vector<Command> out;
  for (const ServiceId& id : target.ids) {
    const auto it = have.find(id);
    const auto service = virtual_service(id, balance);
    if (it == have.end())
      out.push_back({Kind::AddService, service});
    else if (it->second.service != service)
      out.push_back({Kind::SetService, service});
  }
  return out;
}

std::vector<Command> server_commands(const MirroredServices& have, const IpvsTarget& target) {
  std::vector<Command> out, falling;
  for (const ServiceId& id : target.ids)
    if (const auto it = have.find(id); it != have.end())
      add_server_commands(it->second, target.servers.at(id), out, falling);
  out.insert(out.end(), falling.begin(), falling.end());
  return out;
}

IpvsFailures note_results(std::span<const Command> commands, std::span<const Result<>> results,
                          MirroredServices& services) {
  IpvsFailures failures;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Command& command = commands[i];
    const bool removal = command.kind == Kind::RemoveServer || command.kind == Kind::RemoveService;
    if (results[i] || (removal && is_absent(results[i].error())))
      note_done(command, services);
    else if (command.kind == Kind::AddService && results[i].error().code == std::errc::file_exists)
      failures.foreign.insert(command.service.id);
    else
      failures.errors.push_back(results[i].error());
  }
  return failures;
}

}  // namespace lb
