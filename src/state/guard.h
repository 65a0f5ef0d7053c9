// The wipe guard: a listing that suddenly lacks an implausible share of a source's backends is more
// likely a fault of the source than the truth. Pure: the caller brings readings and the time.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/service.h"

namespace lb {

struct GuardOptions {
  unsigned max_loss_percent = 50;
  unsigned min_missing = 3;
  std::chrono::milliseconds confirm{10'000};
  bool files = false;  // what vanishes from files passes the guard, too

  bool operator==(const GuardOptions&) const = default;
};

// One per source. Invariant: accepted() is the last reading plus what is held.
//
// Only absences are held, each until a reading at least `confirm` after the first that lacked it
// lacks it too, or until it is back. Losses that come one by one (leases that run out) are one loss
// when they come within `confirm`: once they are implausible together, the first ones come back.
// Backends in Snapshot::gone are no absences. A source emits nothing while nothing changes, so the second
// reading may never come by itself: at next_deadline() the caller calls recheck() if the source is
// connected and hence still stands by what it said last.
class Guard {
 public:
  using Clock = std::chrono::steady_clock;
  using TimePoint = Clock::time_point;

  struct Held {
    std::vector<std::pair<ServiceKey, Backend>> backends;  // sorted by key and address
    std::size_t of = 0;  // how many backends the source had before the loss
    TimePoint since;     // of the oldest
    std::string text;    // "5 of 6 backends are missing since the last reading: kept ..."
  };
  struct Verdict {
    Snapshot admitted;         // what to use from now on
    std::size_t held = 0;      // absences that are being held after this reading
    std::size_t released = 0;  // held absences that this reading confirmed
  };

  explicit Guard(GuardOptions options = {}) : options_(options) {}

  // What is held goes on being held.
  void set_options(GuardOptions options) { options_ = options; }

  // The saved snapshot, at start: readings are compared to it.
  void restore(Snapshot accepted);

  [[nodiscard]] Verdict admit(const Snapshot& next, TimePoint now);
  // The last reading again; for next_deadline(). Without any reading so far, the restored snapshot.
  [[nodiscard]] Verdict recheck(TimePoint now);
  // `lbctl resync --accept`: the last reading is the truth.
  [[nodiscard]] Snapshot accept();

  [[nodiscard]] const Snapshot* accepted() const { return accepted_ ? &*accepted_ : nullptr; }
  [[nodiscard]] std::optional<Held> held() const;
  [[nodiscard]] std::optional<TimePoint> next_deadline() const;

 private:
  using Id = std::pair<ServiceKey, Address>;
  struct Absent {
    Backend backend;
    ServicePtr service;  // as last accepted, should the service be gone altogether
    TimePoint since;
  };

  [[nodiscard]] std::map<Id, Absent> missing_from(const Snapshot& next, TimePoint now) const;
  [[nodiscard]] bool implausible(std::size_t missing) const;
  void forget_passed(const Snapshot& next, TimePoint now);
  [[nodiscard]] Snapshot with_held(const Snapshot& next) const;

  GuardOptions options_;
  std::optional<Snapshot> accepted_;
  std::optional<Snapshot> reading_;  // the last one as it came; kept only while something is held
  std::map<Id, Absent> held_;
  std::map<Id, Absent> passed_;  // without evidence, but plausible so far; for `confirm`
  std::size_t baseline_ = 0;  // backends before the loss; additions while holding do not dilute it
};

}  // namespace lb
