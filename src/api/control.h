// What operators may ask of a running lbd, as values and one interface. The daemon implements
// Control; routes.h speaks it over HTTP. Nothing here knows HTTP, JSON, a kernel or a source: the
// daemon copies what it has into these values.
//
// Errors carry an errno that decides the HTTP status: ENOENT no such backend, source or drain
// (404), EINVAL bad request (400), EEXIST or EBUSY not now (409), EAGAIN not ready yet (503),
// ENOTSUP (501), anything else 500. The context is one sentence for people.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "base/result.h"
#include "base/time.h"
#include "model/desired.h"
#include "relay/listener_view.h"
#include "relay/order_keys.h"

namespace lb {

namespace asio = boost::asio;

// --- list

struct BackendCounts {
  std::optional<std::uint64_t> active_connections;  // exact; nullopt for UDP
  std::uint64_t total_connections = 0;              // how often the hook chose it
  std::uint64_t refused = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t gave_up = 0;      // the client closed before an answer came
  std::uint64_t unreachable = 0;  // and whatever else the kernel may report
  std::uint64_t ejections =
      0;  // how often the kernel has passed it over for a while, since lbd started

  bool operator==(const BackendCounts&) const = default;
};

struct ServiceView {
  DesiredServicePtr service;
  std::vector<BackendCounts> counts;  // one for each of service->backends, in the same order
};

// --- status

struct Usage {
  std::uint64_t used = 0;
  std::uint64_t max = 0;
};

struct DataplaneView {
  std::string mode;    // "ebpf", "none"
  std::string cgroup;  // where the hooks are attached
  std::string bpffs;
  Usage services, backends, slots;
  std::uint64_t recounts = 0;
  std::uint64_t lost_events = 0;
  std::uint64_t writes = 0;        // ipvs: commands and transactions since the start
  std::vector<std::string> notes;  // degraded modes, one sentence each
  // What this kernel does not let lbd have, its answer, and what is so without it.
  struct Lost {
    std::string what, why, loss;
  };
  std::vector<Lost> lost;
  bool counts_connections = true;  // false: active_connections is null
};

// A service that is not "ok", with the sentence that says why and what to do.
struct ServiceProblem {
  ServiceKey key;
  std::string name;
  Condition condition = Condition::Ok;
  std::string text;
};

// Something of lbd's own, or of this host's, that is not as it must be: it is tried again until it is.
struct OwnProblem {
  std::string what;  // "dataplane", "addresses"
  std::string text;

  bool operator==(const OwnProblem&) const = default;
};

// Something that could not be programmed and is tried again.
struct ReconcileFailure {
  ServiceKey key;
  std::string error;
  SysTime since;
  std::uint64_t attempts = 0;
  std::chrono::milliseconds retry_in{0};
};

// Absences that the wipe guard holds until a second reading agrees, or somebody accepts them.
struct HeldBack {
  std::string source;
  std::uint64_t missing = 0;  // backends that the last reading lacked and that stay in use
  std::uint64_t of = 0;       // how many the source had
  SysTime since;
  std::string text;
};

// An order of an operator; it stays until undrained or until its backend is gone (docs/ARCHITECTURE.md, drains).
struct DrainOrder {
  std::string target;   // as given: ADDR:PORT or a host
  std::string service;  // empty: in every service
  SysTime since;
  std::optional<SysTime> terminate_at;
  bool fleet = false;  // given at an updater, for all listeners
};

// How lbd's own loop is doing: while one step of it lasts, all else waits.
struct LoopHealth {
  std::chrono::microseconds longest_stall{0};  // since the start
  std::optional<SysTime> stalled_at;           // when it ended
  std::uint64_t dropped_log_lines = 0;         // the reader of stderr was too slow, or gone

  bool operator==(const LoopHealth&) const = default;
};

struct Status {
  std::string version;
  std::int64_t pid = 0;
  SysTime started;  // uptime is now - started
  SysTime now;
  std::string config;  // file, or the preset's name
  DataplaneView dataplane;
  std::uint64_t services = 0, backends = 0;
  std::uint64_t active_connections = 0;
  std::vector<ServiceProblem> problems;  // conflicts, refused ports, fail-open, unclaimed
  std::vector<OwnProblem> own_problems;
  std::vector<std::string> warnings;  // "outside clients are not served: web listens on 0.0.0.0:80"
  std::vector<ReconcileFailure> failures;
  std::vector<HeldBack> held;
  std::vector<DrainOrder> drains;
  LoopHealth loop;
};

// --- sources

struct LostClaim {
  ServiceKey key;
  std::string service;  // the loser's name for it
  std::string winner;   // source, or source and app, that owns the key
};

struct SourceView {
  std::string name;
  std::string type;  // "file", "etcd", ...
  std::string
      state;  // "ok", "failing" (last good kept), "waiting" (nothing delivered, nothing saved)
  std::string error;     // the last failure while it lasts
  std::string position;  // for people: endpoint, path
  std::string revision;
  std::optional<SysTime> as_of;  // of the snapshot in force; nullopt before the first
  bool saved = false;            // the snapshot in force was loaded from state_dir, not read live
  std::uint64_t services = 0, backends = 0;
  std::vector<std::string> warnings;
  std::vector<LostClaim> lost_claims;
  std::optional<HeldBack> held;
};

// --- explain

enum class Outcome : std::uint8_t {
  Direct,    // no service, or not programmed: the connect goes where it says
  Balanced,  // to one of the candidates
  Refused,   // ECONNREFUSED: no candidate
};

struct ExplainedBackend {
  DesiredBackend backend;
  BackendCounts counts;
  bool candidate = false;
  std::string why;                // why (not): "weight 0: draining since ... by the operator"
  std::optional<bool> listening;  // LISTEN pre-check; nullopt where it does not apply
};

struct Explanation {
  ServiceKey asked;  // what the client would connect to
  Outcome outcome = Outcome::Direct;
  std::string text;   // the whole answer in one sentence
  std::string alias;  // "[::1]:80 is an alias of 127.0.0.1:80"; empty when asked is the key itself
  DesiredServicePtr service;  // null: there is none
  std::vector<ExplainedBackend> backends;
  std::vector<std::string> notes;  // scope, foreign listener, unreachable families
};

// --- drain

struct DrainTarget {
  std::string target;   // ADDR:PORT, or a host as list shows it
  std::string service;  // its name or [tcp://|udp://]ADDR:PORT; empty: every service

  bool operator==(const DrainTarget&) const = default;
};

struct DrainRequest {
  DrainTarget what;
  bool terminate = false;                                    // destroy what is left at the deadline
  std::optional<std::chrono::milliseconds> terminate_after;  // nullopt: at drain.timeout

  bool operator==(const DrainRequest&) const = default;
};

struct DrainedBackend {
  ServiceKey service;
  std::string service_name;
  std::string id;
  std::string host;
  Address address;
  BackendState state = BackendState::Draining;  // after the call
  Reason reason = Reason::None;
  // TCP: exact. UDP: connected sockets that were steered to it.
  std::uint64_t connections = 0;
};

// --- resync

struct Accepted {
  std::string source;
  std::uint64_t removed = 0;  // backends whose absence is believed now; 0: nothing was held
};

class Control {
 public:
  virtual ~Control() = default;

  // Others get their turn between some services and the next: each one is as it was at some moment since the call.
  // What filter_services() keeps of all, sorted by key.
  virtual asio::awaitable<Result<std::vector<ServiceView>>> list(std::string filter) = 0;
  virtual asio::awaitable<Result<Status>> status() = 0;
  [[nodiscard]] virtual Result<std::vector<SourceView>>
  sources() = 0;  // in the order of the configuration
  [[nodiscard]] virtual Result<Explanation> explain(ServiceKey to) = 0;

  // Programs the order, saves it and returns after the dataplane has settled: no new connection
  // goes there any more. EAGAIN: it is in force, but the disk has not taken it, so that a restart could
  // forget it. Draining what is drained succeeds (a new deadline replaces the old one).
  // ENOENT when nothing matches; a host that was never seen is such a case.
  virtual asio::awaitable<Result<std::vector<DrainedBackend>>> drain(DrainRequest request) = 0;
  // ENOENT when there is no such drain. Returns the backends that it covered.
  virtual asio::awaitable<Result<std::vector<DrainedBackend>>> undrain(DrainTarget what) = 0;
  // How far it is: what the orders matching `what` still cover. Empty when all of it is gone, or
  // when there is no such order; never ENOENT, so that a waiting lbctl sees the end.
  [[nodiscard]] virtual Result<std::vector<DrainedBackend>> drain_progress(DrainTarget what) = 0;

  // --- of an updater; ENOTSUP where no listeners are served
  [[nodiscard]] virtual Result<std::vector<relay::ListenerView>> listeners() = 0;
  // The order is saved and on its way (EAGAIN as with drain()); drain_fleet's answer may come before anybody has it. ENOENT as
  // with drain(). Repeating it succeeds.
  virtual asio::awaitable<Result<relay::FleetProgress>> drain_fleet(DrainTarget what) = 0;
  virtual asio::awaitable<Result<relay::FleetProgress>> undrain_fleet(DrainTarget what) = 0;
  [[nodiscard]] virtual Result<relay::FleetProgress> fleet_progress(DrainTarget what) = 0;

  // Whose orders for the fleet are taken here.
  [[nodiscard]] virtual std::vector<OrderKeys::View> order_keys() = 0;
  // An updater whose key is taken for the one that it had before, or a key; or one that is trusted no more.
  // The key that it is about. EEXIST: the configuration names them. ENOENT: there is no such one.
  [[nodiscard]] virtual Result<std::string> trust(const std::string& what, bool forget) = 0;

  // Believes the absences that the wipe guard holds for this source. ENOENT: no such source.
  virtual asio::awaitable<Result<Accepted>> accept(std::string source) = 0;
};

}  // namespace lb
