// One configured source and what is known through it: its last admitted snapshot, the wipe guard, and
// how it is doing. Knows no other source.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/cancellation_signal.hpp>

#include "model/backend_ranges.h"
#include "sources/source.h"
#include "state/backend_filter.h"
#include "state/claims.h"
#include "state/guard.h"
#include "state/port_ranges.h"
#include "state/store.h"

namespace lb {

using SteadyTime = std::chrono::steady_clock::time_point;

[[nodiscard]] std::size_t count_backends(const Snapshot& snapshot);

class SourceSlot {
 public:
  SourceSlot(std::string name, std::string type, PortRanges ports, GuardOptions guard,
             std::shared_ptr<const Reach> reach = nullptr)
      : name_(std::move(name)),
        type_(std::move(type)),
        ports_(std::move(ports)),
        reach_(std::move(reach)),
        options_(guard),
        guard_(guard) {}

  // Where its backends may be: before anything is loaded or delivered.
  void set_backends(BackendRanges allowed) { backends_ = std::move(allowed); }

  // The snapshot of an earlier run, if there is one, is in force until the source delivers. A broken
  // one is an error for the log: the start goes on without it.
  [[nodiscard]] Result<> load(const SnapshotStore& store);
  // The same, saved under the name that it had before.
  [[nodiscard]] Result<> load(const SnapshotStore& store, const std::string& formerly);
  // What was loaded, as the kernel has it; nothing that it says is saved.
  void amend_loaded(Snapshot snapshot) {
    guard_.restore(allowed_backends(std::move(snapshot), backends_));
  }
  // What `former` has in force is in force here until this source delivers.
  void continue_from(const SourceSlot& former);

  void deliver(const Snapshot& snapshot, SteadyTime now);
  void fail(const Error& error);
  // Looks again at what the guard holds, if that is due; true if something changed.
  bool recheck(SteadyTime now);
  // The operator believes the last reading. Returns how many backends go.
  std::size_t accept();
  void set_guard(GuardOptions options);
  // What other sections of the configuration say of it has changed.
  void set_rights(PortRanges ports, std::shared_ptr<const Reach> reach) {
    ports_ = std::move(ports);
    reach_ = std::move(reach);
  }
  void set_unused(const Unused& backends);

  // Writes the snapshot that is in force, in whatever thread; empty: that was handed out already. If
  // it fails, say so, and it is handed out again.
  [[nodiscard]] std::function<Result<>()> unsaved(const SnapshotStore& store);
  void save_failed() { unsaved_ = true; }
  [[nodiscard]] bool has_unsaved() const { return unsaved_ && guard_.accepted(); }
  [[nodiscard]] std::optional<SteadyTime> next_recheck() const;

  [[nodiscard]] SourceInput input() const;
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& type() const { return type_; }
  // Its name in the configuration before; empty: the same.
  [[nodiscard]] const std::string& formerly() const { return formerly_; }
  [[nodiscard]] bool delivered() const { return delivered_; }
  // What is in force was read in this run, be it by the one that this source continues.
  [[nodiscard]] bool live() const { return delivered_ || continues_live_; }
  [[nodiscard]] const Snapshot* snapshot() const { return guard_.accepted(); }
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] std::optional<Guard::Held> held() const { return guard_.held(); }

  std::unique_ptr<Source> source;
  asio::cancellation_signal stop;  // ends the coroutine that reads the source

 private:
  void log_held(std::size_t before) const;
  void log_believed_loss(Snapshot next, SteadyTime now) const;
  void tell_source();

  std::string name_;
  std::string formerly_;
  std::string type_;
  PortRanges ports_;
  BackendRanges backends_ = BackendRanges::any();
  std::shared_ptr<const Reach> reach_;  // null: any address
  GuardOptions options_;
  Guard guard_;
  bool continues_live_ = false;
  bool delivered_ = false;  // in this run: what is in force is not just loaded
  bool failed_ = false;     // at least once: others need not wait for its claims
  std::string error_;       // the last failure while it lasts
  std::vector<std::string> warnings_;
  bool unsaved_ = false;
};

}  // namespace lb
