// What the operator has taken out of use with lbctl drain. Saved, so that a drain survives a restart.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "model/desired.h"
#include "model/service.h"
#include "state/drain.h"
#include "state/drain_index.h"

namespace lb {

class Drains {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // A file that is rewritten, a task list read at the wrong moment: what is drained is away for less than this.
  static constexpr std::chrono::minutes kRest{5};

  // In memory only, for tests.
  Drains() = default;
  // A broken file is an error that names it, and is put aside as PATH.broken, if that can
  // be done. Drains over the limits (base/limits.h) are left out, see dropped().
  [[nodiscard]] static Result<Drains> open(std::string path, Moment now);
  // None, for a file that cannot be used: it is replaced with the next change.
  [[nodiscard]] static Drains without(std::string path);

  // Each change is in force at once: a disk that is full or hangs must not keep a backend in use. Who
  // gives an order waits until it is saved (Saver::save_orders).
  // Repeating a drain succeeds and keeps `since`; a new terminate_at replaces the old one. E2BIG: over
  // the limits. ENOSPC: there are 10,000 of our own.
  [[nodiscard]] Result<> add(Drain drain);
  // ENOENT: there is no such drain of our own.
  [[nodiscard]] Result<> remove(const Drain::Target& target,
                                const std::optional<std::string>& service = std::nullopt);

  // Orders that the kernel still knows of, of a file that was lost: in force though they cannot be saved.
  void recover(std::vector<Drain> orders);
  // What open() has left out, one sentence; "": nothing.
  [[nodiscard]] const std::string& dropped() const { return dropped_; }
  // Whether the file was there, and good.
  [[nodiscard]] bool loaded() const { return loaded_; }
  [[nodiscard]] bool broken() const { return broken_; }  // it was there, and could not be used

  // The fleet's drains that are in force (relay/fleet.h saves them): beside our own from now on.
  void set_fleet(std::vector<Drain> drains);

  // The first drain that covers this backend of this service, or null.
  [[nodiscard]] const Drain* find(const Backend& backend, const Service& service) const;
  [[nodiscard]] const Drain* find(const Backend& backend, const ServiceKey& key,
                                  std::string_view service_name) const;
  // All that cover it, also the fleet's.
  [[nodiscard]] std::vector<const Drain*> covering(const Backend& backend, const ServiceKey& key,
                                                   std::string_view service_name) const;
  [[nodiscard]] bool matches(const Backend& backend, const Service& service) const {
    return find(backend, service) != nullptr;
  }

  // Learns ids, and looks after drains of an ADDR:PORT that is in no service any more (it has left its
  // source and finished draining): each rests for kRest, is in force again when the same id is back,
  // and ends after that. `complete` = every source has delivered or was loaded; before that nothing
  // rests. Returns what ended. Call it after add(), after each change, and at next_end(): with drains
  // of addresses it looks at every backend.
  [[nodiscard]] std::vector<Drain> settle(const DesiredState& state, bool complete, TimePoint now);
  // When the first of those that rest ends. A restart lets them rest for the whole time again.
  [[nodiscard]] std::optional<TimePoint> next_end() const;

  // Writes our own, in whatever thread; empty: that was handed out already. If it fails, say so, and
  // it is handed out again.
  [[nodiscard]] std::function<Result<>()> unsaved();
  void save_failed() { dirty_ = true; }
  [[nodiscard]] bool has_unsaved() const { return dirty_ && !path_.empty(); }

  // Our own and the fleet's, in_order().
  [[nodiscard]] const std::vector<Drain>& all() const { return *drains_; }
  // The same, to be kept: another pointer as soon as something has changed.
  [[nodiscard]] const std::shared_ptr<const std::vector<Drain>>& shared() const { return drains_; }
  // By target, service and fleet: what is neither before nor after is the same order.
  [[nodiscard]] static bool in_order(const Drain& a, const Drain& b);

 private:
  using Identity = std::tuple<Drain::Target, std::optional<std::string>, std::string>;
  using Resting = std::map<Identity, TimePoint>;  // and since when

  void use(std::vector<Drain> next);
  void replace(std::vector<Drain> next);  // and have it saved
  [[nodiscard]] std::vector<std::vector<std::string>> covered_ids(const DesiredState& state) const;
  [[nodiscard]] bool may_end(const Drain& drain, bool covers);

  [[nodiscard]] bool has_rested(const Drain& drain, TimePoint now, Resting& resting) const;

  std::string path_;
  std::string dropped_;
  bool loaded_ = false, broken_ = false;
  bool dirty_ = false;
  std::shared_ptr<const std::vector<Drain>> drains_ = std::make_shared<const std::vector<Drain>>();
  DrainIndex index_;            // of them
  std::set<std::string> seen_;  // orders of the fleet that have covered something
  Resting resting_;
};

// Does `drain` mean a backend of this state? For "unknown target": exit 1.
[[nodiscard]] bool covers_any(const Drain& drain, const DesiredState& state);

}  // namespace lb
