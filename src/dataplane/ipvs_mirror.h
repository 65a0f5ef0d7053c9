// What IPVS has of ours, as last seen or written: commands are only sent for what differs (ipvs_commands.h).
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/ipvs_commands.h"
#include "ipvs/client.h"

namespace lb {

class IpvsMirror {
 public:
  using Failures = IpvsFailures;

  explicit IpvsMirror(ipvs::Client client) : client_(std::move(client)) {}

  // Reads these again, whole. Returns how many of the virtual services were not as they were left (gone,
  // or another scheduler, servers or weights).
  [[nodiscard]] Result<std::size_t> refresh(std::span<const ipvs::ServiceId> ids);
  // Only the servers of these, which are known.
  [[nodiscard]] Result<> refresh_servers(std::span<const ipvs::ServiceId> ids);

  [[nodiscard]] const MirroredService* find(const ipvs::ServiceId& id) const;
  // Virtual services that are not among `ours`.
  [[nodiscard]] Result<std::vector<ipvs::VirtualService>> others(
      const std::set<ipvs::ServiceId>& ours);

  // Makes the virtual services of `target` so.
  [[nodiscard]] Result<Failures> program(const IpvsTarget& target, Balance balance);

  [[nodiscard]] Result<Failures> remove_servers(
      std::span<const std::pair<ipvs::ServiceId, Address>> servers);
  [[nodiscard]] Result<Failures> remove_services(std::span<const ipvs::ServiceId> ids);
  [[nodiscard]] Result<Failures> add_service(const ipvs::VirtualService& service);

  // Commands sent since the start.
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

 private:
  [[nodiscard]] Result<Failures> send(const std::vector<ipvs::Command>& commands);

  ipvs::Client client_;
  MirroredServices services_;
  std::uint64_t writes_ = 0;
};

}  // namespace lb
