// Brings departures, verdicts and snapshots to disk while the loop goes on: one save at a time,
// departures first, and what changes meanwhile goes with the next. Decides nothing about their content.
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

class Saver {
 public:
  // Runs the job elsewhere and then calls the other one on the loop: Worker::run.
  using Background = std::function<void(std::function<Result<>()>, std::function<void(Result<>)>)>;

  // All of them outlive this; a save that fails is one of the problems until one succeeds.
  Saver(std::string folder, Departures& departures, SavedVerdicts& verdicts,
        SavedProblems& problems)
      : store_(std::move(folder)),
        departures_(departures),
        verdicts_(verdicts),
        problems_(problems) {}

  // Until this is called, each save happens within save(). It must not call us once we are gone.
  void use(Background background) { background_ = std::move(background); }

  // Starts to save what is not saved yet, if it is time for that.
  void save(const SourceSlots& slots, SteadyTime now);
  // Saves within the call, once the background has run dry; whose end it has not told yet is saved
  // again.
  void save_all(const SourceSlots& slots);
  // When save() has something to do; nullopt: nothing, or not before the save that runs has ended.
  [[nodiscard]] std::optional<SteadyTime> next_save(const SourceSlots& slots) const;

 private:
  struct Round {
    bool departures = false, verdicts = false;
    SourceSlots slots;  // those that are written
    std::vector<std::function<Result<>()>> jobs;
    std::chrono::nanoseconds took{};  // written by the job, read after it
  };
  [[nodiscard]] bool has_unsaved(const SourceSlots& slots) const;
  [[nodiscard]] std::shared_ptr<Round> begin(const SourceSlots& slots);
  static Result<> write(Round& round);
  void end(const Round& round, SteadyTime began, const Result<>& result);
  void take_back(const Round& round);

  SnapshotStore store_;
  Departures& departures_;
  SavedVerdicts& verdicts_;
  SavedProblems& problems_;
  Background background_ = [](const auto& job, const auto& done) { done(job()); };
  std::shared_ptr<Round> running_;
  SteadyTime not_before_{};
};

}  // namespace lb
