// What is known of Marathon's apps: the last good reading, what events have told of tasks since, and the
// services that follow. Pure: the time, and what host names mean, are handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
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

  // What is used of its services: the last outcome, and what the wipe guard holds.
  void set_in_force(std::vector<ServicePtr> services) { in_force_ = std::move(services); }
  // Apps that have a service in force which the last reading does not give them: to be asked for by name.
  [[nodiscard]] std::vector<std::string> doubtful_apps() const;
  // The answer to that: the app, which completes the reading, or that there is none. Evidence that the
  // services which it does not claim have gone; not so when a Marathon that lists nothing denies one app
  // of several, as that is the same word once more.
  void named(const std::string& id, std::optional<App> app);

  [[nodiscard]] bool has_read() const { return has_read_; }
  void touch() { dirty_ = true; }
  [[nodiscard]] bool dirty() const { return dirty_; }
  const Outcome& build(const Resolve& resolve, TimePoint now);
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

  // Ids of tasks that have ended by an event's word, or whose app has given the service up, or which are
  // being taken away while their app's port has passed to another one; sorted. They are in no service.
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
  using Holding = std::pair<ServiceKey, std::string>;  // a service, and the app that has it
  [[nodiscard]] bool is_leaving(const std::string& task) const {
    return std::binary_search(outcome_.leaving.begin(), outcome_.leaving.end(), task);
  }
  void index();
  [[nodiscard]] bool claims_nothing() const;
  [[nodiscard]] bool is_only_app(const std::string& id) const;
  [[nodiscard]] bool given_up(const Service& service) const {
    return given_up_.contains({service.key, service.origin});
  }
  void end(const std::string& task, EventHint::Fate fate, TimePoint now);
  void forget_old(TimePoint now);
  void compare(const std::vector<ServicePtr>& before, TimePoint now);

  Rules rules_;
  std::vector<App> apps_;
  std::unordered_set<std::string_view> tasks_;  // ids in apps_
  Memory memory_;
  Outcome outcome_;
  std::map<std::string, TimePoint> gone_;  // and when that was told
  std::vector<ServicePtr> in_force_;
  std::set<Holding> given_up_;  // in force, and not claimed any more
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
