// The turn of the daemon, without an event loop: sources, drains and departures in; dataplane out. Owns
// the state and the reconciler. The caller delivers what sources say, calls turn() and comes back at
// next_wakeup(); all times come from the injected clocks.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/saver.h"
#include "daemon/source_slot.h"
#include "dataplane/dataplane.h"
#include "reconcile/drain_watch.h"
#include "reconcile/owners.h"
#include "reconcile/reconciler.h"
#include "sources/clocks.h"
#include "state/departures.h"
#include "state/drains.h"
#include "state/merge.h"
#include "state/saved_verdicts.h"

namespace lb {

// What a reload may change.
struct EngineSettings {
  std::chrono::milliseconds drain_timeout{60'000};
  bool terminate_on_timeout = false;
  bool scope_all = false;
};

// Sources that are configured no more. What they had stays in force, after all others, until those that
// came in their place have delivered.
struct FormerSources {
  SourceSlots slots;
  SourceSlots until;  // configured now, and like none of those before
};

class Engine {
 public:
  // A departed backend that is in use again, as all others are out by now, stays so long without a connection.
  static constexpr std::chrono::seconds kLastResort{30};

  // Loads drains and departures from `state_dir` and takes over what the kernel has; `dataplane` and
  // `problems` outlive the engine. The slots have loaded their snapshots.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> open(
      Dataplane& dataplane, const std::string& state_dir, EngineSettings settings,
      ReconcilerOptions options, Clocks clocks, SourceSlots slots, SavedProblems& problems);

  void deliver(SourceSlot& slot, const Result<Snapshot>& snapshot);
  void set_local_addresses(std::vector<IpAddress> addresses);
  void process_named() { reconciler_.process_named(); }
  // What the health checks have found.
  void set_health(const HealthVerdicts& verdicts) { replan_ = verdicts_.set(verdicts) || replan_; }
  // Who holds the ports of backends with a uid. The first look at each is the engine's own, within
  // the plan that it comes with; the caller looks every Owners::kInterval while there are any().
  [[nodiscard]] const Owners& owners() const { return owners_; }
  // Both: true when there is something to be planned.
  bool set_listeners(const Result<std::vector<Listener>>& found, SteadyTime began);
  bool set_owner_names(Owners::Names names);
  void configure(EngineSettings settings, SourceSlots slots, FormerSources former = {});
  // At the start, before there are sources: what the slots have loaded becomes what the kernel has, where
  // that is newer. The first plan does it if this was not called.
  void catch_up();
  // Those of an earlier configuration whose successors have not delivered yet.
  [[nodiscard]] const FormerSources& former() const { return former_; }
  // `lbctl resync --accept`: not any longer. Returns how many backends go; nullopt: there is none.
  [[nodiscard]] std::optional<std::size_t> drop_former(const std::string& name);

  // Does what is due, at most `limit` writes to the dataplane; true: call again.
  bool turn(std::size_t limit);
  [[nodiscard]] SteadyTime next_wakeup() const;

  // Of what is wanted, for the operator who waits for it: at most `limit` writes; true: call again.
  bool apply_some(std::size_t limit);
  // Everything within the call: before the loop runs.
  void apply_all();
  // Departures and snapshots are saved there from now on, instead of within turn().
  void save_in(Saver::Background background, Saver::Wait wait) {
    saver_.use(std::move(background), std::move(wait));
  }
  // With the drains from now on; they outlive the engine.
  void save_also(SavedOrders orders) { saver_.add(std::move(orders)); }
  // Begins to save what was ordered; `done` comes when it is on disk, or cannot be.
  void save_orders(Saver::Done done) {
    saver_.save_orders(saved_slots(), clocks_.steady(), std::move(done));
  }
  // Saves what is not saved yet, within the call; the background has run dry.
  void save_all() { saver_.save_all(saved_slots()); }
  // All sources have delivered (or were loaded), and all that they want is programmed.
  [[nodiscard]] bool serves_all() const {
    return leftovers_adopted_ && !replan_ && !replanned_ && reconciler_.failures().empty();
  }
  // Whether the kernel was given something since the last call.
  [[nodiscard]] bool take_applied() { return std::exchange(applied_, false); }
  // Drains of the fleet that have ended since the last call.
  [[nodiscard]] std::vector<Drain> take_ended_fleet() { return std::exchange(ended_fleet_, {}); }
  // After changes of drains, or when a guard was overruled.
  void replan_soon() { replan_ = true; }

  [[nodiscard]] const SourceSlots& slots() const { return slots_; }
  [[nodiscard]] Drains& drains() { return drains_; }
  [[nodiscard]] const View& view() const { return view_; }
  // Backends that are down by health checks, at first those of the run before.
  [[nodiscard]] const HealthVerdicts& down() const { return verdicts_.down(); }
  // The services in force that have a health check.
  [[nodiscard]] std::vector<ServicePtr> checked() const;
  [[nodiscard]] const Reconciler& reconciler() const { return reconciler_; }
  [[nodiscard]] Dataplane& dataplane() const { return dataplane_; }
  [[nodiscard]] DrainWatch& drain_watch() { return drain_watch_; }
  [[nodiscard]] const EngineSettings& settings() const { return settings_; }
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  [[nodiscard]] const Clocks& clocks() const { return clocks_; }
  // Of what is looked at again and again: what cannot be seen or put right now, a sentence each.
  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  Engine(Dataplane& dataplane, const std::string& state_dir, EngineSettings settings,
         ReconcilerOptions options, Clocks clocks, SourceSlots slots, Drains drains,
         Departures departures, SavedVerdicts verdicts, HeldPorts held, SavedProblems& problems);
  [[nodiscard]] ReconcilerOptions completed(ReconcilerOptions options);
  // Of files: what they say is the host's own decision.
  [[nodiscard]] bool decides_for_host(const std::string& source) const;

  // What deadlines are judged by. After a late wake-up (SIGSTOP, a machine that was paused) they stand
  // still for a moment: what waits is read first.
  [[nodiscard]] SteadyTime judged(SteadyTime now) const;
  bool do_turn(std::size_t limit);
  [[nodiscard]] SteadyTime next_deadline() const;
  // Those configured, and the former ones that stand in for them.
  [[nodiscard]] SourceSlots saved_slots() const;
  void do_due(SteadyTime now);
  void replan();
  [[nodiscard]] MergeResult merge_all(Moment now);
  void adopt_claimed(const std::optional<Observed>& all, Moment now);
  void adopt_leftovers(Moment now);
  void dismiss_former();
  void forget_contradicted_departures(const Observed& observed, const View& view);
  void recover_drains(const Observed& observed, SysTime now);
  // True: the verdicts are others than those that `result` was made with.
  bool watch_owners(const MergeResult& result, SteadyTime now);
  void tell_unused();
  void tell_reach();
  void plan_watch(SteadyTime now);
  // Departed backends; nullopt: not in use, else since when they are so again.
  using Idle = std::map<Departures::Key, std::optional<SteadyTime>>;
  // A departed backend that was in use no more is so again, and lately; notes how it is in `departed`.
  [[nodiscard]] bool has_become_last_resort(const DesiredBackend& b, const Departures::Key& key,
                                            SteadyTime now, Idle& departed) const;
  void plan_next_deadline(SteadyTime now);
  [[nodiscard]] bool terminates(const DesiredService& service, const DesiredBackend& backend,
                                SteadyTime now) const;
  // True: there is more to look at.
  [[nodiscard]] std::vector<WatchedBackend> programmed(std::vector<WatchedBackend> watched) const;
  [[nodiscard]] bool look_after_drains(SteadyTime now);
  StepResult step(std::size_t limit);

  Dataplane& dataplane_;
  EngineSettings settings_;
  Clocks clocks_;
  SourceSlots slots_;
  FormerSources former_;
  Drains drains_;
  Departures departures_;
  SavedVerdicts verdicts_;
  HeldPorts held_;
  SavedProblems& problems_;
  Saver saver_;
  std::function<Result<std::vector<Listener>>()> read_listeners_;
  Reconciler reconciler_;
  DrainWatch drain_watch_;

  Owners owners_;
  View view_;
  MergeResult merged_;  // its state has gone to the reconciler; the memo stays for the next merge
  bool merged_once_ = false;
  bool applied_ = false;
  std::vector<std::string> warnings_;
  std::vector<Drain> ended_fleet_;
  HostView host_;  // this host's addresses
  std::map<ServiceKey, std::string>
      out_of_reach_;          // refused or narrowed by rights: what was said of it
  Unused unused_;             // as the slots know it
  bool unused_told_ = false;  // to those that are configured now
  bool replan_ = true;
  bool replanned_ = false;  // in the last turn, and nothing of it is applied yet
  bool leftovers_adopted_ = false;
  std::optional<std::vector<ServiceKey>> leftovers_;  // still to be looked at, from the end
  std::string leftovers_error_;
  bool caught_up_ = false;
  std::optional<Observed> found_;        // what the kernel had at the start; until the first plan
  std::optional<SteadyTime> deadline_;   // something ends then: plan again
  std::vector<WatchedBackend> watched_;  // sorted
  Idle departed_;                        // at the last plan
  SteadyTime awake_{};                   // at the last turn
  SteadyTime planned_ = SteadyTime::max();  // when the next one was to be
  SteadyTime judge_from_{};                 // until then deadlines stand still, at awake_
  SteadyTime next_look_{};
  SteadyTime next_collect_{};
  std::string drain_error_;  // the last, while it lasts
  std::string collect_error_, owners_error_;
  bool some_finished_ = false;  // in the round of looks that is under way
};

}  // namespace lb
