// Makes the kernel's state the desired one: owns what was last applied, does removals and changes,
// retries what fails, keeps out of foreign listeners' way, and repairs what others changed. Level
// triggered: all inputs are whole states, and each only marks services as "look again". Knows no
// event loop: the owner calls step() when something changed and at next_wakeup().
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/time.h"
#include "dataplane/dataplane.h"
#include "model/desired.h"
#include "reconcile/diff.h"
#include "reconcile/frontends.h"
#include "reconcile/held_ports.h"
#include "reconcile/listeners.h"

namespace lb {

using SteadyTime = std::chrono::steady_clock::time_point;

struct ReconcilerOptions {
  bool shadow = false;  // on_local_listener: take over although somebody listens
  std::function<Result<std::vector<Listener>>()> read_listeners;
  std::function<std::string(const Listener&)> name_listener;  // "nginx (pid 123) of uid 33"
  std::function<std::uint32_t()> random;
  YieldTo yield_to{};  // on_local_listener "refuse": to whom
  // True: what this source says is the host's own decision (files), and a listener of others was never
  // there by right. Else who was there first keeps the port.
  std::function<bool(const std::string& source)> decides_for_host = [](const auto&) {
    return false;
  };
  HeldPorts* held = nullptr;  // outlives the reconciler
};

// A service that could not be programmed and is tried again.
struct Failure {
  std::string error;
  SysTime since;
  SteadyTime retry_at;
  Backoff backoff;
};

// What foreign listeners mean for a service.
struct ListenerNote {
  bool conflict = false;  // the whole service is not programmed
  bool waits = false;     // some of its addresses are left to a listener until that goes
  std::string text;       // names the process and what to do
  Listener listener{};    // of which the text tells

  bool operator==(const ListenerNote&) const = default;
};

// What one step did, for the log.
struct StepResult {
  std::size_t upserted = 0, removed = 0, failed = 0;
  bool more = false;  // the limit was reached: call again
};

class Reconciler {
 public:
  // How often to look: while a service waits for a listener to go, it must take over within 1 s.
  static constexpr std::chrono::milliseconds kListenersInConflict{250};
  static constexpr std::chrono::milliseconds kListeners{2'000};
  static constexpr std::chrono::milliseconds kDrift{20'000};  // bounds what a stray tool can break
  // An unprivileged user may bind as often as he likes: of one user at one service so often in the log.
  static constexpr std::chrono::minutes kToldAgain{1};
  static constexpr std::size_t kAtLeast = 32;   // writes in one step, some milliseconds
  static constexpr std::size_t kSorted = 256;   // before `enough` is asked, a millisecond
  static constexpr std::size_t kCompared = 64;  // services in one step, a millisecond or two

  // `dataplane` must outlive this.
  Reconciler(Dataplane& dataplane, ReconcilerOptions options);

  // Takes what the kernel has as applied. Once, before the first step: then a restart with nothing
  // changed writes nothing, and what is programmed already counts as before any listener.
  void adopt(const Observed& observed, SteadyTime now);

  void want(DesiredState desired);
  void set_local_addresses(std::vector<IpAddress> addresses);
  // What was adopted and nobody claims stays until this is said: all sources have delivered.
  void all_sources_delivered();
  // What a listener is called has become known.
  void process_named() {
    for (const auto& [key, note] : notes_) mark(key);
  }

  // Does at most `limit` operations, fewer (kAtLeast) once `enough` says so, and what is due by now: retries, looking for
  // listeners, a slice of the comparison with what the kernel really has.
  StepResult step(
      SteadyTime now, SysTime wall, std::size_t limit,
      const std::function<bool()>& enough = [] { return false; });
  [[nodiscard]] SteadyTime next_wakeup() const;

  [[nodiscard]] const DesiredState& desired() const { return desired_; }
  [[nodiscard]] const AppliedState& applied() const { return applied_; }
  [[nodiscard]] const std::map<ServiceKey, Failure>& failures() const { return failures_; }
  [[nodiscard]] const std::map<ServiceKey, ListenerNote>& notes() const { return notes_; }
  [[nodiscard]] const std::vector<IpAddress>& local_addresses() const { return host_.addresses; }
  // What an lbd before this one programmed and no source has named so far: in force until all have
  // delivered.
  [[nodiscard]] const std::set<ServiceKey>& unclaimed() const { return unclaimed_; }
  // The desired service, with the conditions that only the host can tell (Conflict, LocalOnly); an unclaimed one as it
  // is programmed. Null: none.
  [[nodiscard]] DesiredServicePtr effective(const ServiceKey& key) const;
  // Which service takes what is sent there; nullopt: nothing of ours.
  [[nodiscard]] std::optional<ServiceKey> owner(const Frontend& frontend) const;
  // What cannot be looked at now, a sentence each: what was seen last stays in force.
  [[nodiscard]] std::vector<std::string> problems() const;
  // Grows with each write to the dataplane: who has settled after it need not do so again.
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

 private:
  void mark(const ServiceKey& key) { dirty_.insert(key); }
  void mark_with_dependents(const ServiceKey& key);

  // reconciler_due.cpp: what is looked at because time has passed.
  void do_due(SteadyTime now);
  [[nodiscard]] SteadyTime next_listeners() const;
  void look_for_listeners(SteadyTime now);
  void mark_ports_that_differ(const std::vector<Listener>& before);
  void check_drift(SteadyTime now);
  void begin_drift(SteadyTime now);
  void compare(std::span<const ServiceKey> keys, AppliedState observed);

  void sort_out_dirty(SteadyTime now, const std::function<bool()>& enough);
  void sort_out(const ServiceKey& key);
  void prepare(std::size_t limit);
  [[nodiscard]] bool takes_new_frontend(const ServiceKey& key) const;
  // With the condition LocalOnly where its source may not publish it.
  [[nodiscard]] DesiredServicePtr as_reached(const DesiredServicePtr& service) const;
  [[nodiscard]] DesiredServicePtr describe_unclaimed(const ServiceKey& key) const;
  [[nodiscard]] std::optional<ProgrammedService> target(const ServiceKey& key);
  [[nodiscard]] std::optional<ProgrammedService> target_of(const DesiredService& service);
  // The addresses that must be left to others, and why.
  [[nodiscard]] std::set<IpAddress> blocked_addresses(const DesiredService& service,
                                                      const std::vector<IpAddress>& addresses,
                                                      ListenerNote& note);
  // Whether the service leaves its port to this listener; `addresses` are the service's.
  [[nodiscard]] bool keeps_its_port(const Listener& listener, const DesiredService& service,
                                    const std::vector<IpAddress>& addresses) const;
  [[nodiscard]] std::string listener_text(const Listener& listener, const DesiredService& service,
                                          const IpAddress& address, bool blocks);
  void keep_note(const ServiceKey& key, ListenerNote note);
  void note_refusal(const ServiceKey& key, const DesiredState& next) const;
  [[nodiscard]] std::string source_of(const ServiceKey& key) const;
  void carry_out(const ServiceKey& key, SteadyTime now, SysTime wall, StepResult& result);
  void set_applied(const ServiceKey& key, std::optional<ProgrammedService> programmed);
  void note_failure(const ServiceKey& key, const Error& error, SteadyTime now, SysTime wall);

  Dataplane& dataplane_;
  ReconcilerOptions options_;

  DesiredState desired_;
  HostView host_;
  std::vector<Listener> listeners_;

  AppliedState applied_;
  std::map<Frontend, ServiceKey> frontends_;  // the addresses of applied_, the other way round
  std::set<ServiceKey> unclaimed_;            // adopted, and claimed by no source since
  bool all_delivered_ = false;

  std::set<ServiceKey> dirty_;                  // look again
  bool sorting_ = false;                        // begun, and not at its end
  bool listeners_asked_ = false;                // in this sorting
  std::array<std::set<ServiceKey>, 3> queues_;  // looked at, to be done; by Step
  std::set<ServiceKey> prepared_;               // of these, announced to the dataplane
  std::map<ServiceKey, Failure> failures_;
  std::map<ServiceKey, ListenerNote> notes_;
  struct Told {
    Uid uid = 0;
    bool kept = false;
    SteadyTime at;
  };
  std::map<ServiceKey, Told> told_;  // of which listener the log has last heard
  SteadyTime now_{};                 // of the step under way
  SysTime wall_{};
  std::uint64_t writes_ = 0;
  SteadyTime looked_for_listeners_{};
  SteadyTime next_drift_{};
  std::vector<ServiceKey>
      to_compare_;           // of the look at drift that is under way, the last one first
  std::size_t drifted_ = 0;  // found by it
  std::string listeners_error_, drift_error_;  // of the last look
};

}  // namespace lb
