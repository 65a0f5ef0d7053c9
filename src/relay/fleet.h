// Drains of the whole fleet: orders that an operator gives at one updater, and that every listener
// keeps. Listeners carry them in their hello, every updater that trusts who signed them adopts them, and
// only a newer order for the same target replaces one: no failover and no restart undrains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "relay/fleet_order.h"
#include "relay/order_keys.h"

namespace lb {

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

  // What was told and is not taken, for now.
  struct Refused {
    FleetOrder order;
    std::string why;  // "is signed with a key ..."
  };

  struct Heard {
    bool changed = false;
    std::size_t refused = 0;
    std::string why;               // of the first that was refused
    std::vector<FleetOrder> news;  // what is in force now, the first kNews of them
    std::size_t more_news = 0;
  };

  // In memory only, signed or not: for a logger, which passes orders on, and for tests.
  FleetOrders() = default;
  // A broken file is an error that names it, and is put aside as PATH.broken, if that can
  // be done. Orders over the limits are left out, see dropped(). What is saved is in force, signed or not.
  [[nodiscard]] static Result<FleetOrders> open(std::string path);
  // None, for a file that cannot be used.
  [[nodiscard]] static FleetOrders without(std::string path);

  // Each change is in force at once, and saved soon after, however many orders it is of.
  // An order that was made here. true: something changed; false: known, or older than what is known of
  // the same target and service. Who makes an order gives it a time after that of the one that
  // find() knows, also when its clock is behind. E2BIG: over the limits. ENOSPC: there are 10,000
  // orders already, or 16 MiB of them.
  [[nodiscard]] Result<bool> adopt(const FleetOrder& order);
  // Orders that another lbd has told of, their signatures checked by decode(): the good ones are adopted.
  // Refused are those over the limits, those that keys() says no to, those for which there is no room, and
  // those that are dated more than a day after `now`, unless they follow an order that is so as well: then
  // it must be possible to end that one. A known order with a later signature is no news.
  [[nodiscard]] Heard hear(const std::vector<FleetOrder>& orders, SysTime now);
  [[nodiscard]] Result<> end(const std::string& id, SysTime now) {
    return end(std::set<std::string>{id}, now);
  }
  [[nodiscard]] Result<> end(const std::set<std::string>& ids, SysTime now);
  // Forgets undrains and ended drains of more than a week ago. Hears again what was refused, some of it at
  // least: its key may be trusted now, and it may have been our clock that was wrong.
  [[nodiscard]] Heard prune(SysTime now);
  // Signs again, some at a time, what is in force and would soon be taken by no new listener.
  [[nodiscard]] Result<> renew(SysTime now);

  [[nodiscard]] const std::vector<Known>& all() const { return known_; }  // by target, service
  [[nodiscard]] const Known* find(const std::string& target, const std::string& service) const;
  // By target, service; the first limits::kOrdersRefused.
  [[nodiscard]] const std::vector<Refused>& refused() const { return refused_; }
  [[nodiscard]] const OrderKeys& keys() const { return keys_; }
  // To be called with what changes them; true: others are trusted, or no more.
  void change_keys(const std::function<bool(OrderKeys&)>& change);
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
  [[nodiscard]] std::string why_refused(const FleetOrder& order, const Known* known,
                                        SysTime now) const;
  void refuse(const FleetOrder& order, std::string why);

  std::string path_;
  std::string dropped_;
  bool dirty_ = false;
  std::vector<Known> known_;
  std::vector<Refused> refused_;
  OrderKeys keys_;
  std::size_t size_ = 0;  // bytes of their texts
  std::uint64_t version_ = 0;
};

}  // namespace lb
