// Backends and whole services that left their source but may still have connections. They keep their
// identity until the connections are gone. Their deadlines go on over a restart (state/deadline.h).
// Pure but for open() and what unsaved() returns.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "health/verdict.h"
#include "state/claims.h"
#include "state/deadline.h"

namespace lb {

struct Departure {
  Backend backend;  // as its source last described it
  std::string service_name;
  Balance balance = Balance::LeastConn;
  std::string source;    // name; empty when only the kernel knew of it
  std::string origin{};  // of the service that it left
  SysTime since;
  Deadline deadline;        // from then on Lingering
  bool terminated = false;  // the caller was told once to end its connections
  std::optional<std::chrono::milliseconds> timeout{};  // its service's own; nullopt: everyone's

  bool operator==(const Departure&) const = default;
};

class Departures {
 public:
  using Key = std::pair<ServiceKey, Address>;
  using Map = std::map<Key, Departure>;
  using SteadyTime = std::chrono::steady_clock::time_point;

  explicit Departures(std::chrono::milliseconds timeout, std::string path = {})
      : timeout_(timeout), path_(std::move(path)) {}
  // A broken file is an error that names it, and is put aside as PATH.broken, if that can
  // be done.
  [[nodiscard]] static Result<Departures> open(std::string path, std::chrono::milliseconds timeout,
                                               Moment now);

  // Compares with the view before: what was there and is absent now departs; what is (back) in the
  // view is no departure. Services that are refused count as absent. `down`: by lbd's own checks when it
  // left, which is what is known of it from then on.
  void update(const View& view, Moment now, const HealthVerdicts& down = {});

  // What the kernel has at start: if neither the view nor a saved departure knows it, it departs now
  // under the name ADDR:PORT with weight 0. Call it after update(), once the view is complete.
  void adopt(const ServiceKey& key, const Address& backend, Moment now);

  // Its connections are gone (0, and still 0 after a grace period), or it never had any.
  bool finish(const ServiceKey& key, const Address& backend);

  // A timeout that became shorter holds for those that are under way, too: call it before using
  // deadlines.
  void clamp(Moment now);
  [[nodiscard]] std::vector<Key> lingering(SteadyTime now) const;
  // Past the deadline and not told before: each key once, also across restarts (call save()).
  [[nodiscard]] std::vector<Key> take_terminations(SteadyTime now);
  // The next deadline that is still to come.
  [[nodiscard]] std::optional<SteadyTime> next_deadline(SteadyTime now) const;

  [[nodiscard]] const Map& all() const { return departures_; }
  [[nodiscard]] const Departure* find(const ServiceKey& key, const Address& backend) const;

  // Writes what has changed since the last call, in whatever thread; empty: nothing has. If it fails,
  // say so, and it is handed out again.
  [[nodiscard]] std::function<Result<>()> unsaved();
  void save_failed() { dirty_ = true; }
  [[nodiscard]] bool has_unsaved() const { return dirty_ && !path_.empty(); }
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

 private:
  struct Leaving {
    Moment now;
    const HealthVerdicts& down;
  };
  void depart(const OwnedService& owned, const std::string& source, const Backend& backend,
              const Leaving& leaving);
  void depart_missing(const OwnedService& before, const std::string& source, const Service* after,
                      const Leaving& leaving);
  void drop_present(const Service& service);
  [[nodiscard]] const Service* in_view(const ServiceKey& key) const;
  // When its connections shall be gone, counted from `now`.
  [[nodiscard]] Deadline latest(const Departure& departure, Moment now) const {
    return Deadline::in(departure.timeout.value_or(timeout_), now);
  }

  std::chrono::milliseconds timeout_;
  std::string path_;
  Map departures_;
  std::vector<OwnedService> before_;  // services of the last view, refused ones left out
  std::vector<std::string> before_sources_;
  bool dirty_ = false;
};

}  // namespace lb
