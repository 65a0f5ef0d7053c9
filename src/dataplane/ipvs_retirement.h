// Real servers that their service lists no more: at weight 0 until nothing runs over them, then deleted.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/ipvs_connections.h"
#include "dataplane/ipvs_mirror.h"

namespace lb {

class IpvsRetirement {
 public:
  using Clock = std::chrono::steady_clock;

  // What IPVS counts as inactive is closed (it remembers that for two minutes: ip_vs_proto_tcp.c, TIME_WAIT), or being closed, or
  // half-closed and alive: only the list of connections tells. It is read when the last active one has been gone for this
  // long, where it is short.
  static constexpr std::chrono::seconds kFarewell{1};
  static constexpr std::size_t kFew = 20'000;
  // Where it is long: when most of what is left cannot be there any more.
  static constexpr std::chrono::seconds kTimeWait{120};
  // A deleted server stays in a list that every later addition searches (ip_vs_ctl.c, dest_trash) for up to
  // some minutes: 100,000 at once make each addition cost 10 ms. Nobody waits for a server at weight 0 to be gone.
  static constexpr std::size_t kAtOnce = 50;

  // Before a round of look(): at most kAtOnce deletions in each second.
  void begin(Clock::time_point now);
  // Deletes those of the services' servers that are not in `listed` and are unused. True while some are left.
  [[nodiscard]] Result<bool> look(IpvsMirror& mirror, std::span<const ipvs::ServiceId> ids,
                                  const std::set<Address>& listed);

 private:
  using Id = std::pair<ipvs::ServiceId, Address>;

  [[nodiscard]] Result<bool> is_unused(const Id& id, const ipvs::ObservedServer& server);
  [[nodiscard]] Result<bool> is_alive(const Id& id);

  Clock::time_point now_, second_;
  std::size_t budget_ = kAtOnce;
  std::map<Id, Clock::time_point> idle_since_;              // no active connection since
  std::optional<std::vector<IpvsConnection>> connections_;  // of this round, if needed
  bool listing_is_dear_ = false;
};

}  // namespace lb
