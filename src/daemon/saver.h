// Brings orders, departures, verdicts and snapshots to disk while the loop goes on: one save at a time,
// in this order, and what changes meanwhile goes with the next. Decides nothing about their content.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/saved_problems.h"
#include "daemon/source_slot.h"
#include "state/departures.h"
#include "state/saved_verdicts.h"
#include "state/store.h"

namespace lb {

using SourceSlots = std::vector<std::shared_ptr<SourceSlot>>;  // in the order of the configuration

// Logs an error that is not the last one; `last` becomes it, or "" once all is well.
void log_change(std::string& last, std::string error);

// What operators have ordered: saved before all else, and who gave an order waits for that.
struct SavedOrders {
  std::function<std::function<Result<>()>()> unsaved;  // as Drains::unsaved()
  std::function<bool()> has_unsaved;
  std::function<void()> save_failed;
};
template <class Orders>
[[nodiscard]] SavedOrders saved_orders(Orders& orders) {
  return {[&orders] { return orders.unsaved(); }, [&orders] { return orders.has_unsaved(); },
          [&orders] { orders.save_failed(); }};
}

class Saver {
 public:
  using Done = std::function<void(Result<>)>;
  // Runs the job elsewhere and then calls the other one on the loop: Worker::run.
  using Background = std::function<void(std::function<Result<>()>, Done)>;
  // Waits until all of them have run, but not for ever: Worker::wait.
  using Wait = std::function<bool(std::chrono::milliseconds)>;

  // All of them outlive this; a save that fails is one of the problems until one succeeds.
  // `clock` is asked in the background, too.
  Saver(std::string folder, Departures& departures, SavedVerdicts& verdicts,
        SavedProblems& problems, std::function<SteadyTime()> clock = std::chrono::steady_clock::now)
      : store_(std::move(folder)),
        departures_(departures),
        verdicts_(verdicts),
        problems_(problems),
        clock_(std::move(clock)) {}

  // Until this is called, each save happens within save(). It must not call us once we are gone.
  void use(Background background, Wait wait) {
    background_ = std::move(background);
    wait_ = std::move(wait);
  }
  // They outlive this.
  void add(SavedOrders orders) { orders_.push_back(std::move(orders)); }

  // Starts to save what is not saved yet, if it is time for that.
  void save(const SourceSlots& slots, SteadyTime now);
  // Starts to save the orders now, and calls `done` when they are on disk, or cannot be.
  void save_orders(const SourceSlots& slots, SteadyTime now, Done done);
  // Saves within the call, once the background has run dry; whose end it has not told yet is saved
  // again. Gives up when the disk does not answer for some seconds.
  void save_all(const SourceSlots& slots);
  // When save() has something to do; nullopt: nothing, or not before the save that runs has ended.
  [[nodiscard]] std::optional<SteadyTime> next_save(const SourceSlots& slots) const;

 private:
  struct Round {
    std::vector<const SavedOrders*> orders;
    std::vector<std::function<Result<>()>> order_jobs;
    std::vector<Done> waiters;  // for the orders
    Result<> orders_saved;
    bool departures = false, verdicts = false;
    SourceSlots slots;  // those that are written
    std::vector<std::function<Result<>()>> jobs;
    std::chrono::nanoseconds took{};  // written by the job, read after it
  };
  [[nodiscard]] bool has_unsaved(const SourceSlots& slots) const;
  [[nodiscard]] std::shared_ptr<Round> begin(const SourceSlots& slots);
  static Result<> write(Round& round, const std::function<SteadyTime()>& clock);
  static Result<> write_others(Round& round);
  void end(const Round& round, SteadyTime began, const Result<>& result);
  void take_back(const Round& round);

  SnapshotStore store_;
  Departures& departures_;
  SavedVerdicts& verdicts_;
  SavedProblems& problems_;
  std::function<SteadyTime()> clock_;
  Background background_ = [](const auto& job, const auto& done) { done(job()); };
  Wait wait_ = [](auto) { return true; };
  std::vector<SavedOrders> orders_;
  std::vector<Done> waiters_;  // for the round that comes
  std::shared_ptr<Round> running_;
  SteadyTime not_before_{};
};

}  // namespace lb
