// Looks after backends that run out: finds the moment when the last connection is gone, and ends
// connections where that was ordered. Knows no deadline: who is watched, and whether to terminate,
// is decided by the caller.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/dataplane.h"

namespace lb {

struct WatchedBackend {
  ServiceKey service;
  Address backend;
  bool terminate = false;  // destroy what is left

  auto operator<=>(const WatchedBackend&) const = default;
};

class DrainWatch {
 public:
  using Id = std::pair<ServiceKey, Address>;

  // A connection's end must reach its drain within a tenth of a second, for `drain --wait`.
  static constexpr std::chrono::milliseconds kInterval{100};

  // `dataplane` must outlive this.
  explicit DrainWatch(Dataplane& dataplane) : dataplane_(dataplane) {}

  struct Look {
    std::vector<Id> finished;  // no connection left, and none can come
    std::uint64_t terminated = 0;
    std::vector<Error> errors;
    bool more = false;  // not all were looked at: call again
  };
  // One look at all of them; `watched` is sorted, and has been programmed with weight 0. Stops when
  // `enough` says so, which is asked after each service; the next call goes on from there.
  [[nodiscard]] Look look(
      std::span<const WatchedBackend> watched,
      const std::function<bool()>& enough = [] { return false; });
  // What is watched no more begins anew when it comes back.
  void keep_only(std::span<const WatchedBackend> watched);

  // Connections to it now; nullopt when the dataplane does not know the service.
  [[nodiscard]] Result<std::optional<std::uint64_t>> connections(const Id& id);

 private:
  [[nodiscard]] Result<std::optional<ObservedService>> read(const ServiceKey& key);
  [[nodiscard]] Result<std::optional<std::uint64_t>> count(
      const std::optional<ObservedService>& service, const Id& id);
  void look_at(const WatchedBackend& watched, const std::optional<ObservedService>& service,
               Look& look, std::set<Id>& empty);

  void end_of_round(Look& look);
  void settle(std::set<Id> empty);

  Dataplane& dataplane_;
  std::optional<ServiceKey> looked_up_to_;  // of the round that is under way
  std::set<Id> empty_;                      // found in it
  // Had no connection at a look. A connect that chose such a backend just before may not be counted
  // yet: only when the dataplane has settled after that look, a further 0 is final.
  std::set<Id> settling_, settled_;
  bool busy_ = false;  // the dataplane settles for settling_, or for what was in it
  std::optional<Error> settle_error_;
};

}  // namespace lb
