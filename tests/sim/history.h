// One history: an lbd with its sources, kernel, disk and clients in virtual time, and what befalls them
// at random. Same seed, same history. Throws Violation.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/engine.h"
#include "health/dampener.h"
#include "relay/fleet.h"
#include "sim/disk.h"
#include "sim/kernel.h"
#include "sim/merlion_script.h"
#include "sim/script.h"
#include "sim/world.h"

namespace lb::sim {

inline constexpr std::string_view kFaults[] = {"kill",   "disk",  "freeze", "reload", "restart",
                                               "tamper", "clock", "route",  "writes"};

class History {
 public:
  // `folder` is lbd's state_dir: empty, and this history's alone.
  // `without`: kinds of faults that do not befall it (kFaults).
  History(std::uint64_t seed, std::string folder, bool trace, std::set<std::string> without = {});
  ~History();

  // Throws Violation. `steps` counts those taken, also then.
  void run();
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  // What lbd wants, for people.
  void describe() const;

 private:
  enum class Type : std::uint8_t { File, Marathon, Merlion };
  struct SourceModel {
    Type type;
    std::string name;
    std::vector<ServiceKey> services;
    bool checks = false;
    EtcdStore etcd{};
    std::string saved_as{};  // what sources.json says that it was
    std::string former{};    // of another kind, in whose place it has come
  };

  // history.cpp: the life of lbd
  void set_up();
  void start(bool first);
  [[nodiscard]] std::shared_ptr<SourceSlot> make_slot(std::size_t index, const std::string& name);
  void attach(SourceSlot& slot, std::size_t index, milliseconds first);
  void live(milliseconds time);
  void pump();
  void deliver();
  [[nodiscard]] SteadyTime next_due() const;
  void probe();
  void killed();
  void restart(bool was_saved);
  void apply_fleet();
  void note_former();
  [[nodiscard]] std::map<ServiceKey, std::set<Address>> in_use() const;
  void end_well();
  [[nodiscard]] std::string why_not_at_rest() const;

  // events.cpp: what befalls it
  void befall();
  void change_truth();
  void use_it();
  void operate();
  void disturb_sources();
  void disturb_host();
  void start_some(std::size_t index, std::size_t count);
  void replace_all(std::size_t index);
  void blue_green(std::size_t index);
  void leave_and_return(std::size_t index);
  void end(Instance& instance);
  void connect(const ServiceKey& key);
  void drain(bool host, bool terminate);
  void undrain();
  void undrain_all();
  void fleet_drain();
  void fleet_undrain(const FleetOrder& order);
  void watch_order(unsigned number);
  [[nodiscard]] Order* find_order(unsigned number);
  void stop_and_start();
  void rename_source();
  void replace_source();
  void freeze();
  [[nodiscard]] std::vector<Instance*> listed(std::size_t source);
  [[nodiscard]] bool has(const char* fault) const { return !without_.contains(fault); }
  void guarded(const std::function<void()>& does);

  std::string folder_;
  std::set<std::string> without_;
  World world_;
  Kernel kernel_;
  Disk disk_;
  std::vector<SourceModel> sources_;
  std::vector<Script*> scripts_;  // of the slots, by source; owned by these
  GuardOptions guard_;
  EngineSettings settings_;
  std::unique_ptr<SavedProblems> problems_;
  std::unique_ptr<FleetOrders> fleet_;
  std::unique_ptr<Engine> engine_;
  std::map<Id, Dampener> probes_;
  SteadyTime next_probe_ = SteadyTime::max();
  std::vector<std::pair<SteadyTime, Address>> comebacks_;  // unlisted for a moment
  std::vector<std::pair<SteadyTime, Address>> endings_;    // of those whose successors run
  SteadyTime host_back_ = SteadyTime::max();
  bool at_rest_ = false;  // lbd has done all that there was to do
  std::uint64_t steps_ = 0;
  unsigned next_number_ = 0;
};

}  // namespace lb::sim
