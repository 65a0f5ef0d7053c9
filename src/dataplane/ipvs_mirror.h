// What IPVS has of ours, as last seen or written: commands are only sent for what differs.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "dataplane/ipvs_entry.h"
#include "ipvs/client.h"

namespace lb {

struct MirroredService {
  ipvs::VirtualService service;
  std::map<Address, ipvs::ObservedServer> servers;
};

class IpvsMirror {
 public:
  explicit IpvsMirror(ipvs::Client client) : client_(std::move(client)) {}

  // Reads these anew, whole. Returns how many virtual services were not as they were left (gone, or
  // another scheduler, servers or weights).
  [[nodiscard]] Result<std::size_t> refresh(const std::set<ipvs::ServiceId>& ours);
  // Only the servers of these, which are known.
  [[nodiscard]] Result<> refresh_servers(std::span<const ipvs::ServiceId> ids);

  [[nodiscard]] const MirroredService* find(const ipvs::ServiceId& id) const;
  // Virtual services that are not among `ours`.
  [[nodiscard]] Result<std::vector<ipvs::VirtualService>> others(
      const std::set<ipvs::ServiceId>& ours);

  struct Failures {
    std::vector<Error> errors;
    std::set<ipvs::ServiceId> foreign;  // could not be added: somebody else has them
  };
  // Makes the virtual services of `target` so. New and heavier servers come first: at no moment fewer are
  // in use than before and after. Servers that are not in it keep their connections at weight 0.
  [[nodiscard]] Result<Failures> program(const IpvsTarget& target, Balance balance);

  [[nodiscard]] Result<Failures> remove_servers(
      std::span<const std::pair<ipvs::ServiceId, Address>> servers);
  // What is gone already counts as removed.
  [[nodiscard]] Result<Failures> remove_services(std::span<const ipvs::ServiceId> ids);
  [[nodiscard]] Result<Failures> add_service(const ipvs::VirtualService& service);

  // Commands sent since the start.
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

 private:
  [[nodiscard]] Result<Failures> send(const std::vector<ipvs::Command>& commands);
  void note_done(const ipvs::Command& command);

  ipvs::Client client_;
  std::map<ipvs::ServiceId, MirroredService> services_;
  std::uint64_t writes_ = 0;
};

}  // namespace lb
