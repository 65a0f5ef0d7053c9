// Drains of the whole fleet: orders that an operator gives at one updater, and that every listener
// keeps. Listeners report them in their hello, every updater adopts them, and only a newer order
// for the same target replaces one: no failover and no restart undrains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/service.h"

namespace lb {

struct FleetOrder {
  std::string id;       // made by the updater that was asked; unique
  SysTime time;         // of the order; the newer one of two wins, of equal ones the larger id
  std::string target;   // ADDR:PORT or a host, as Drain::parse_target() takes it
  std::string service;  // name or [tcp://|udp://]ADDR:PORT; empty: every service
  bool drain = true;    // false: undrain
  // Ids of the backends that an ADDR:PORT meant when the order was given: a new task on the same
  // address is not drained. Empty for hosts.
  std::vector<std::string> ids;

  bool operator==(const FleetOrder&) const = default;
};

// E2BIG, with a sentence: a text or list of it is over the limits (base/limits.h).
[[nodiscard]] Result<> order_within_limits(const FleetOrder& order);
[[nodiscard]] std::size_t size_of(const FleetOrder& order);  // bytes of its texts

// What one lbd knows of the fleet's drains, saved.
class FleetOrders {
 public:
  struct Known {
    FleetOrder order;
    bool ended = false;  // here: its backend has left and has no connection any more
    SysTime ended_at{};

    bool operator==(const Known&) const = default;
  };

  // What came of orders that another lbd has told of.
  static constexpr std::size_t kNews = 64;

  struct Heard {
    bool changed = false;
    std::size_t refused = 0;
    std::string why;               // of the first that was refused
    std::vector<FleetOrder> news;  // what is in force now, the first kNews of them
    std::size_t more_news = 0;
  };

  // In memory only, for tests.
  FleetOrders() = default;
  // A broken file is an error that names it, and is put aside as PATH.broken, if that can
  // be done. Orders over the limits are left out, see dropped().
  [[nodiscard]] static Result<FleetOrders> open(std::string path);
  // None, for a file that cannot be used.
  [[nodiscard]] static FleetOrders without(std::string path);

  // Each change is in force at once, and saved soon after, however many orders it is of.
  // An order that was made here. true: something changed; false: known, or older than what is known of
  // the same target and service. Who makes an order gives it a time after that of the one that
  // find() knows, also when its clock is behind. E2BIG: over the limits. ENOSPC: there are 10,000
  // orders already, or 16 MiB of them.
  [[nodiscard]] Result<bool> adopt(const FleetOrder& order);
  // Orders that another lbd has told of: the good ones are adopted. Refused are those over the limits,
  // those for which there is no room, and those that are dated more than a day after `now`, unless they
  // follow an order that is so as well: then it must be possible to end that one.
  [[nodiscard]] Heard hear(const std::vector<FleetOrder>& orders, SysTime now);
  [[nodiscard]] Result<> end(const std::string& id, SysTime now) {
    return end(std::set<std::string>{id}, now);
  }
  [[nodiscard]] Result<> end(const std::set<std::string>& ids, SysTime now);
  // Forgets undrains and ended drains of more than a week ago. Hears again what was dated too far ahead,
  // some of it at least: it may have been our clock that was wrong.
  [[nodiscard]] Result<> prune(SysTime now);

  [[nodiscard]] const std::vector<Known>& all() const { return known_; }  // by target, service
  [[nodiscard]] const Known* find(const std::string& target, const std::string& service) const;
  // What open() has left out, one sentence; "": nothing.
  [[nodiscard]] const std::string& dropped() const { return dropped_; }
  // As Drains::unsaved().
  [[nodiscard]] std::function<Result<>()> unsaved();
  void save_failed() { dirty_ = true; }
  [[nodiscard]] bool has_unsaved() const { return dirty_ && !path_.empty(); }
  // Counts changes, for whoever passes them on.
  [[nodiscard]] std::uint64_t version() const { return version_; }

 private:
  void changed();
  [[nodiscard]] Heard merge(std::vector<FleetOrder> orders);

  std::string path_;
  std::string dropped_;
  bool dirty_ = false;
  std::vector<Known> known_;
  std::vector<FleetOrder> ahead_;  // refused for their time
  std::size_t size_ = 0;           // bytes of their texts
  std::uint64_t version_ = 0;
};

}  // namespace lb
