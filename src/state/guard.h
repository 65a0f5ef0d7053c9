// The wipe guard: a listing that suddenly lacks what was there is more often a fault of the source than
// the truth, where nothing tells of an end. Pure: the caller brings readings and the time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
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
  std::chrono::milliseconds total{600'000};  // nothing is left; `confirm`, if that is longer
  bool files = false;                        // what vanishes from files passes the guard, too

  bool operator==(const GuardOptions&) const = default;
};

// One per source. Invariant: accepted() is the last reading plus what is held.
//
// Only absences without evidence are held, each until a later reading lacks it too, or until it is back.
// How much later depends on the loss:
//   kAgain    it takes the last backend in use of a service, or the service's port goes to another origin
//   confirm   it is an implausible share of the source, or of a service that has not as many new ones
//   total     the reading has nothing at all
// Losses that come one by one (leases that run out) are one loss when they come within `confirm`: once
// they are implausible together, the first ones come back. Backends in Snapshot::gone, and those that
// were draining at their source's word, are no absences. While something of a service is held, another
// origin does not get its key: it waits aside, and then replaces the service at once.
//
// A source that does not poll emits nothing while nothing changes, so the second reading may never come
// by itself: at next_deadline() the caller calls recheck() if the source is connected and hence still
// stands by what it said last. For one that polls there is no deadline: its next reading decides.
class Guard {
 public:
  using Clock = std::chrono::steady_clock;
  using TimePoint = Clock::time_point;

  // Another endpoint has had the time to see what the first one saw.
  static constexpr std::chrono::milliseconds kAgain{1'000};

  struct Held {
    std::vector<std::pair<ServiceKey, Backend>> backends;  // sorted by key and address
    std::size_t of = 0;  // how many backends the source had before the loss
    TimePoint since;     // of the oldest
    bool total = false;  // the source has lost all that it had
    std::string text;    // "5 of 6 backends are missing since the last reading: kept ..."
  };
  struct Verdict {
    Snapshot admitted;         // what to use from now on
    std::size_t held = 0;      // absences that are being held after this reading
    std::size_t released = 0;  // held absences that this reading confirmed
  };

  explicit Guard(GuardOptions options = {}) : options_(options) {}

  // Which are no use as the last ones of a service. From the next reading on.
  void set_unused(Unused backends) { unused_ = std::move(backends); }

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
  enum class Wait : std::uint8_t { None, Again, Confirm, Total };  // by length
  struct Absent {
    Backend backend;
    ServicePtr service;  // as last accepted, should the service be gone altogether
    TimePoint since;
    Wait wait = Wait::None;
    bool was_held = false;
    bool last = false;      // nothing usable of its origin is left in its service
    std::size_t after = 0;  // how many its service has now, of the same origin
  };
  using Absences = std::map<Id, Absent>;

  [[nodiscard]] Absences missing_from(const Snapshot& next, TimePoint now) const;
  void add_missing(const ServicePtr& before, const ServicePtr& after, const Snapshot& next,
                   TimePoint now, Absences& out) const;
  [[nodiscard]] bool implausible(std::size_t missing, std::size_t of) const;
  [[nodiscard]] Wait wait_of_source(const Snapshot& next, std::size_t missing) const;
  void judge(Absences& missing, Wait source) const;
  void hold_passed(Absences& hold, Wait source);
  [[nodiscard]] std::chrono::milliseconds length(Wait wait) const;
  void forget_passed(const Snapshot& next, TimePoint now);
  [[nodiscard]] Snapshot with_held(const Snapshot& next) const;
  [[nodiscard]] ServicePtr with_held(const Service* fresh, Absences::const_iterator begin,
                                     Absences::const_iterator end, const ServicePtr& before) const;

  [[nodiscard]] bool is_usable(const ServiceKey& key, const Backend& backend) const;

  GuardOptions options_;
  Unused unused_;
  std::optional<Snapshot> accepted_;
  std::optional<Snapshot> reading_;  // the last one as it came; kept only while something is held
  Absences held_;
  Absences passed_;           // without evidence, but plausible so far; for `confirm`
  std::size_t baseline_ = 0;  // backends before the loss; additions while holding do not dilute it
};

}  // namespace lb
