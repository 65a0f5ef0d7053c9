// Where backends come from. A source delivers whole snapshots, never events; what it cannot read it
// reports and skips, and when it cannot read at all it delivers nothing, so that the last good
// snapshot stays in force.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "base/log_level.h"
#include "base/result.h"
#include "model/programmed.h"
#include "model/report.h"
#include "model/service.h"

namespace lb {

namespace asio = boost::asio;

// How a source is doing, for `lbctl sources`.
struct SourceStatus {
  bool connected = false;     // etcd: the watch is up; file: the path is readable
  std::string error;          // the last failure while it lasts; empty when all is well
  std::string position;       // endpoint and revision, path and number of files: for people
  bool unconfigured = false;  // etcd: nothing valid is at one of the prefixes
  bool unreachable = false;   // etcd: every endpoint was asked in vain
  // When what it says was last known to be the whole truth, also if nothing had changed; nullopt:
  // not in this run.
  std::optional<SysTime> read_at{};
};

class Source {
 public:
  virtual ~Source() = default;

  // Suspends until there is a complete snapshot that differs from the one delivered before in
  // something that matters. An error means: nothing new could be read, the last snapshot stays;
  // the caller calls again at once (the source itself backs off and waits inside next()).
  // Cancellation is asio's; one call at a time.
  virtual asio::awaitable<Result<Snapshot>> next() = 0;

  [[nodiscard]] virtual SourceStatus status() const = 0;

  // What became of its services. Most sources do not care. True: the failure may be the client's own doing, or would take too much
  // out, so a connect of lbd's own decides; called again with that one, if it fails.
  [[nodiscard]] virtual bool connect_failed(const ConnectFailure& failure) {
    (void)failure;
    return false;
  }
  [[nodiscard]] virtual bool wants_reports() const { return false; }
  virtual void report(const std::vector<ServiceReport>& services) { (void)services; }
  // What is used of its services since its last snapshot, or since the wipe guard let go of something.
  virtual void admitted(const Snapshot& in_force) { (void)in_force; }
  // Of its services and others; whenever that has changed.
  virtual void unused(const Unused& backends) { (void)backends; }
  // All that it delivered so far has gone to the kernel, as far as that took it.
  virtual void applied() {}

  // The log level that its configuration asks for, of the whole daemon.
  [[nodiscard]] virtual std::optional<LogLevel> log_level() const { return std::nullopt; }
};

}  // namespace lb
