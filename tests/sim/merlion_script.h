// etcd with one Merlion prefix: keys, heartbeats, a watch that breaks, a store that is full or has lost
// what it had. What follows from them is MerlionView's.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/script.h"
#include "sources/merlion_view.h"

namespace lb::sim {

// etcd's side, which outlives each lbd.
struct EtcdStore {
  std::map<std::string, std::string> values;
  std::set<std::string> written;  // ids of backends that have keys
  SteadyTime heartbeat_at{};
  SteadyTime trouble_ends{};
  bool full = false;     // etcd takes no writes, and says so
  bool cut_off = false;  // heartbeats do not reach it
};

class MerlionScript final : public Script {
 public:
  static constexpr milliseconds kHeartbeat{3'000};
  static constexpr std::chrono::seconds kFreshness{12};

  MerlionScript(World& world, std::size_t index, const ServiceKey& service, EtcdStore& store,
                const Snapshot* saved, milliseconds first);

  void step() override;
  [[nodiscard]] SteadyTime next_due() const override;
  void ended(const Instance& instance) override;
  void edited() override;
  void slept() override;
  void befall() override;
  void heal() override;
  void unused(const Unused& backends) override { view_.set_unused(backends, world_.now); }
  [[nodiscard]] bool connect_failed(const ConnectFailure& failure) override;

 private:
  using Events = std::vector<std::pair<SteadyTime, etcd::Event>>;
  [[nodiscard]] std::string name_of(const Instance& instance) const;
  void send(const std::string& key, const std::string& value, bool erase);
  void publish(const Instance& instance);
  void forget(const Instance& instance);
  void heartbeat();
  void pass_time();
  void connect();
  void disconnect(milliseconds wait);
  void build();

  EtcdStore& store_;
  ServiceKey service_;
  MerlionView view_;
  Events events_;              // on their way
  SteadyTime last_arrival_{};  // in the order of what happened
  SteadyTime connect_at_, confirm_at_ = SteadyTime::max();
  bool trusted_ = true;
  bool synced_ = false;
  ServicePtr built_;
};

}  // namespace lb::sim
