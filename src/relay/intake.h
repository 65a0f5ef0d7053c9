// Makes one state out of what many updaters send: the replica of the one that feeds, and of those that
// have been asked. A value; the shell around it owns connections and time.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "relay/choice.h"
#include "relay/message.h"
#include "relay/received.h"

namespace lb::relay {

class Intake {
 public:
  using TimePoint = Choice::TimePoint;

  struct Replica {
    Position at;
    std::vector<SourceMark> sources;
    std::vector<ServicePtr> services;  // sorted by ServiceRef
  };
  struct Todo {
    std::vector<std::pair<std::size_t, Feed>> feeds;
    std::vector<std::size_t> resyncs;
    std::optional<TimePoint> next;  // decide again then, if nothing happens before
  };

  Intake(std::size_t updaters, std::chrono::milliseconds confirm, TimePoint start)
      : choice_(updaters, confirm, start), inlets_(updaters) {}
  void restore(Revision saved) { choice_.restore(std::move(saved.at), std::move(saved.sources)); }

  void up(std::size_t updater, const Position& at, TimePoint now);
  void down(std::size_t updater, TimePoint now);
  // Pings, snapshots, deltas; others are not for here. An error: it does not keep to the protocol.
  [[nodiscard]] Result<> take(std::size_t updater, Message message, TimePoint now);
  [[nodiscard]] Todo decide(TimePoint now, std::uint32_t random);

  [[nodiscard]] const Choice& choice() const { return choice_; }
  [[nodiscard]] const Replica* in_force() const { return in_force_ ? &*in_force_ : nullptr; }
  // Counts changes of what is in force.
  [[nodiscard]] std::uint64_t version() const { return version_; }
  // Since the last believed(), absences have come in a way that is no evidence: with another run of an
  // updater, or another updater.
  [[nodiscard]] bool guarded() const { return guarded_; }
  void believed() { guarded_ = false; }

 private:
  // A delta that does not fit after each of so many snapshots: it is the updater that is broken.
  static constexpr int kResyncsAtMost = 3;

  struct Inlet {
    std::optional<Replica> replica;  // of one that has been asked and does not feed
    bool resyncing = false;
    int resyncs = 0;  // since a delta fitted
  };

  [[nodiscard]] Result<> take_snapshot(std::size_t updater, SnapshotMessage message, TimePoint now);
  [[nodiscard]] Result<> take_delta(std::size_t updater, Delta delta, TimePoint now);
  [[nodiscard]] bool feeds_on(std::size_t updater, const Position& at) const;
  void put_in_force(std::size_t updater);

  Choice choice_;
  std::vector<Inlet> inlets_;
  std::vector<std::size_t> resyncs_;  // to be asked for
  std::optional<Replica> in_force_;
  std::uint64_t version_ = 0;
  bool guarded_ = true;  // the first state is compared to the saved one
};

}  // namespace lb::relay
