// The truth of a history: which backends there are, what operators have ordered, and the judgement of
// every change of the kernel against both. Sources tell it, more or less; lbd never sees it.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "model/programmed.h"
#include "sim/random.h"
#include "sources/clocks.h"

namespace lb::sim {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

// An invariant does not hold: the history ends.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// SIGKILL: thrown through lbd, which is thrown away with all that it knew.
struct Killed {};

// A process that serves, at an address of its own.
struct Instance {
  std::string id;
  Address address;
  ServiceKey service;
  std::string origin;  // app, prefix or file
  std::size_t source = 0;
  bool running = true;
  bool listed = true;                       // its source has it, told truly
  bool quiet = false;                       // it writes no heartbeats, and that is its own fault
  bool refuses = false;                     // it alone refuses connects
  std::optional<SteadyTime> unlisted_at{};  // while it is not listed
  std::optional<SteadyTime> left_at{};      // when it was taken from its source last
  SteadyTime good_from{};                   // a fault of its own is over, and lbd hears of it soon

  // Nothing but a fault keeps it from being used.
  [[nodiscard]] bool good(SteadyTime now) const {
    return running && listed && !quiet && !refuses && good_from <= now;
  }
};

// lbctl drain ADDR:PORT, or of a host.
struct Order {
  unsigned number = 0;
  Address address;
  bool host = false;          // all of the address's machine
  std::set<std::string> ids;  // those it meant
  bool answered = false;      // nothing may go there from now on
  bool saved = false;
  bool doubtful = false;  // it may have ended, or been forgotten with a file that was not saved
  bool fleet = false;
  std::optional<SteadyTime> terminate_at{};
};

using Id = std::pair<ServiceKey, Address>;

class World {
 public:
  explicit World(std::uint64_t seed) : random(seed) {}

  // The clock of all other hosts, which is right.
  [[nodiscard]] SysTime others_wall() const {
    return SysTime(milliseconds(1'750'000'000'000)) +
           std::chrono::duration_cast<milliseconds>(now.steady.time_since_epoch() -
                                                    std::chrono::hours(1000));
  }

  Random random;
  Moment now{SysTime(milliseconds(1'750'000'000'000)), SteadyTime(std::chrono::hours(1000))};
  std::map<Address, Instance> instances;
  std::map<Id, std::uint64_t> active;  // connections
  std::vector<Order> orders;
  milliseconds drain_timeout{10'000};
  bool host_cut_off = false;  // this host reaches no backend
  SteadyTime cut_off_until{};
  bool trace = false;

  Instance& start(const ServiceKey& service, const std::string& origin, std::size_t source);
  // The process ends, and its connections with it.
  void end(Instance& instance);
  void unlist(Instance& instance);
  [[nodiscard]] bool answers(const Address& address) const;

  // Of those in force, one that covers it and of which `which` is true.
  template <class Which>
  [[nodiscard]] bool is_ordered(const Instance& instance, Which which) const {
    return std::any_of(orders.begin(), orders.end(), [&](const Order& order) {
      const bool covers =
          order.host ? order.address.ip == instance.address.ip : order.ids.contains(instance.id);
      return covers && which(order);
    });
  }
  // Those that may end by themselves have done so, perhaps.
  void age_orders();

  // The kernel has another set of backends for a service; null: none. Throws Violation.
  void judge(const ServiceKey& key, const ProgrammedService* before,
             const ProgrammedService* after);
  void judge_termination(const Id& id);
  // Backends of a service that must be in use when nothing is amiss.
  [[nodiscard]] std::set<Address> good(const ServiceKey& key) const;
  [[nodiscard]] static std::string names(const std::set<Address>& addresses);
  [[nodiscard]] static std::set<Address> in_use(const ProgrammedService* service);

  void say(const std::string& line) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  void judge_new(const ServiceKey& key, const std::set<Address>& used);
  void judge_gone(const ServiceKey& key, const ProgrammedService* before,
                  const ProgrammedService* after);

  unsigned next_instance_ = 0;
  std::map<Id, SteadyTime> out_since_;  // takes no new connections
};

}  // namespace lb::sim
