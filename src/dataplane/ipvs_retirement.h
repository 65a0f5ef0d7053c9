// Which real servers may be deleted: those that their service lists no more, once nothing runs over them. IPVS drops the packets of
// a connection whose server is gone, so this rule alone keeps open connections. It decides by values and deletes nothing itself.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/ipvs_connections.h"
#include "ipvs/records.h"

namespace lb {

// A real server as IPVS has just told of it.
struct IpvsServer {
  ipvs::ServiceId service;
  ipvs::ObservedServer observed;
};

class IpvsRetirement {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = std::pair<ipvs::ServiceId, Address>;
  using Connections = std::function<Result<std::vector<IpvsConnection>>()>;

  // What IPVS counts as inactive is closed (it remembers that for two minutes: ip_vs_proto_tcp.c, TIME_WAIT), or being closed, or
  // half-closed and alive: only the list of connections tells. It is read when the last active one has been gone for this
  // long, where it is short.
  static constexpr std::chrono::seconds kFarewell{1};
  static constexpr std::size_t kFew = 20'000;
  // Where it is long: when most of what is left cannot be there any more.
  static constexpr std::chrono::seconds kTimeWait{120};
  // A deleted server stays in a list that every later addition searches (ip_vs_ctl.c, dest_trash) for up to
  // some minutes: 100,000 at once make each addition cost 10 ms. A server at weight 0 may stay, it takes nothing new.
  static constexpr std::size_t kAtOnce = 50;

  // `connections` lists all of IPVS's connections.
  explicit IpvsRetirement(Connections connections = read_ipvs_connections)
      : read_connections_(std::move(connections)) {}

  // Before a round of choose(): at most kAtOnce deletions in each second.
  void begin(Clock::time_point now);

  struct Choice {
    std::vector<Id> unused;  // to be deleted now
    bool left = false;       // others that are not listed remain
  };
  // Of one service's servers those that are not in `listed` and are unused. The list of connections is read at most once in a
  // round, and only when it decides.
  [[nodiscard]] Result<Choice> choose(std::span<const IpvsServer> servers,
                                      const std::set<Address>& listed);

 private:
  [[nodiscard]] Result<bool> is_unused(const Id& id, const ipvs::ObservedServer& server);
  [[nodiscard]] Result<bool> has_open_connections(const Id& id);

  Connections read_connections_;
  Clock::time_point now_, second_;
  std::size_t budget_ = kAtOnce;
  std::map<Id, Clock::time_point> idle_since_;              // no active connection since
  std::optional<std::vector<IpvsConnection>> connections_;  // of this round, if needed
  bool list_is_long_ = false;                               // when last read
};

}  // namespace lb
