// How many flows each backend has, from the kernel's connection tracking.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "nft/dnat_rules.h"
#include "nft/flows.h"

namespace lb {

class NftFlowCounts {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = std::pair<ServiceKey, Address>;  // a backend of a service
  using Counts = std::map<Id, std::uint64_t>;

  explicit NftFlowCounts(nft::Flows flows) : flows_(std::move(flows)) {}

  // Open flows by service and backend. A reading may be as old as 200 ms, or more where there are so many
  // flows that reading them takes long.
  [[nodiscard]] Result<const Counts*> read(const nft::DnatServices& services);
  // The next reading is a new one.
  void forget() { valid_until_ = {}; }

  // Ends the translation of these backends' flows; returns how many were open.
  [[nodiscard]] Result<std::uint64_t> end(const nft::DnatServices& services,
                                          const std::set<Id>& backends);

  // Connection tracking forgets the UDP flows to these frontends that it took for the host's own: the sender's next packet meets
  // the service. Each packet would renew them for ever. Returns how many there were.
  [[nodiscard]] Result<std::uint64_t> renew(const std::set<ServiceKey>& frontends);

 private:
  nft::Flows flows_;
  Counts counts_;
  Clock::time_point valid_until_{};
};

// Which service a client meant that came to `frontend`; null: none of these. Pure.
class FrontendIndex {
 public:
  explicit FrontendIndex(const nft::DnatServices& services);
  [[nodiscard]] const ServiceKey* find(Protocol protocol, const Address& frontend) const;

 private:
  std::map<ServiceKey, ServiceKey> by_frontend_;
};

}  // namespace lb
