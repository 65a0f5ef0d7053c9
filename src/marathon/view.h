// What is known of Marathon's apps: the last good reading, what events have told of tasks since, and the
// services that follow. Pure: the time, and what host names mean, are handed in.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "marathon/app.h"
#include "marathon/events.h"
#include "marathon/rules.h"
#include "model/service.h"

namespace lb::marathon {

class View {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // How long an event's word that a task has ended stands against readings that show it alive: such
  // a reading is old. Later it is the event that was wrong, or the task has come back.
  static constexpr std::chrono::seconds kGoneStands{60};
  // How long a Marathon without Mesos is not believed.
  static constexpr std::chrono::minutes kLostStands{10};
  // An absence is new for so long.
  static constexpr std::chrono::seconds kMissingStands{15};

  // `saved`: the services of an earlier run. What was in use there had passed its checks.
  View(Rules rules, const std::vector<ServicePtr>& saved);

  // What an event told; true when it changes a task that is known.
  bool apply(const EventHint& hint, TimePoint now);
  // A reading. Refused when Marathon has lost Mesos and now lacks tasks.
  [[nodiscard]] Result<> replace(std::vector<App> apps, TimePoint now);
  // The stream was closed: whether Marathon has Mesos will be told anew.
  void forget_mesos() { lost_since_ = TimePoint::max(); }

  [[nodiscard]] bool has_read() const { return has_read_; }
  void touch() { dirty_ = true; }
  [[nodiscard]] bool dirty() const { return dirty_; }
  const Outcome& build(const Resolve& resolve, TimePoint now);
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

  // Ids of tasks that have ended by an event's word, sorted, and are in no service.
  [[nodiscard]] std::vector<std::string> gone() const;
  // Backends that went lately without an event that explains it, and are not back.
  [[nodiscard]] std::size_t missing() const { return missing_.size(); }
  // True once for each time that such a loss began or grew.
  [[nodiscard]] bool take_new_loss() { return std::exchange(new_loss_, false); }
  // True once after an event explained what a reading had lacked before: those who hold it back can
  // let go of it.
  [[nodiscard]] bool take_explained() { return std::exchange(explained_, false); }

 private:
  using Id = std::pair<ServiceKey, Address>;
  void index();
  void end(const std::string& task, EventHint::Fate fate, TimePoint now);
  void forget_old(TimePoint now);
  void compare(const std::vector<ServicePtr>& before, TimePoint now);

  Rules rules_;
  std::vector<App> apps_;
  std::unordered_set<std::string_view> tasks_;  // ids in apps_
  Memory memory_;
  Outcome outcome_;
  std::map<std::string, TimePoint> gone_;  // and when that was told
  struct Missing {
    std::string task;
    TimePoint since;
  };
  std::map<Id, Missing> missing_;
  TimePoint lost_since_ = TimePoint::max();  // Marathon has lost Mesos
  bool has_read_ = false;
  bool dirty_ = false;
  bool new_loss_ = false;
  bool explained_ = false;
};

}  // namespace lb::marathon
