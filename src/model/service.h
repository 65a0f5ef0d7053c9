// What a source says: services and their backends, as values. Nothing here knows a kernel, a file
// or a clock.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/users.h"
#include "model/address.h"

namespace lb {

enum class Protocol : std::uint8_t { Tcp, Udp };
enum class Balance : std::uint8_t { LeastConn, P2c, Random, RoundRobin, SourceHash };

// A service's identity. The address is where clients connect to; 0.0.0.0 and :: stand for every
// local address of the host.
struct ServiceKey {
  Protocol protocol = Protocol::Tcp;
  IpAddress address;
  Port port = 0;

  // "[tcp://|udp://]address:port"; tcp when no scheme is given.
  [[nodiscard]] static Result<ServiceKey> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;  // "tcp://127.0.0.1:8080"

  auto operator<=>(const ServiceKey&) const = default;
};

// States and reasons of a backend: docs/OPERATIONS.md. What they mean for new connections is decided
// in state/eligibility.h and nowhere else.
enum class BackendState : std::uint8_t { Active, Unknown, Draining, Down, Exited, Stale, Disabled };

enum class Reason : std::uint8_t {
  None,             // in use, nothing to explain
  Source,           // draining: the source is taking it away (KILLING), or has removed it
  Operator,         // draining: lbctl drain
  Lingering,        // draining: its deadline has passed, connections are left
  Weight,           // draining: the source gives it weight 0
  ProbeFailed,      // down
  Unreachable,      // down
  ConnectFailed,    // exited
  NotSeen,          // stale: last-seen-at is too old
  NeverSeen,        // stale: no last-seen-at at all
  Disabled,         // disabled by its key
  NotVerified,      // unknown, or down where the source wants a verdict first: none yet
  SourceUnhealthy,  // down: the source's own checks say so
  Unsupported,      // down: this dataplane cannot use it; the status says why
  Owner,            // down, or draining: its port is not its user's, or not known to be
  Ejected,  // down: the kernel passes it over for a while, because it refused or does not answer
};

constexpr std::uint32_t kDefaultWeight = 100;
constexpr std::uint32_t kMaxWeight = 65535;

struct Backend {
  std::string id;    // the source's name for it: Merlion's NAME, Marathon's task id, else ADDR:PORT
  std::string host;  // what the source called the machine: a name or an address
  Address address;
  std::uint32_t weight = kDefaultWeight;      // 0 to kMaxWeight; 0 takes no new connections
  std::string origin;                         // where within the source: file, key prefix, app
  BackendState state = BackendState::Active;  // the source's own verdict
  Reason reason = Reason::None;
  // Of a backend at an address of this host: the user whose sockets must hold its port
  // (reconcile/owners.h). nullopt: it does not matter.
  std::optional<Uid> uid{};

  auto operator<=>(const Backend&) const = default;
};

// How lbd itself finds out whether a backend works: a connect, or a request that is answered with
// 200 to 399. The defaults are HAProxy's.
struct HealthCheck {
  enum class Type : std::uint8_t { Tcp, Http };
  Type type = Type::Tcp;
  std::string path = "/";  // Http only
  Port port = 0;           // 0: the backend's own
  std::chrono::milliseconds interval{2'000};
  std::chrono::milliseconds timeout{2'000};  // of one probe
  std::uint32_t rise = 2;                    // so many good ones in a row: up
  std::uint32_t fall = 3;                    // so many bad ones in a row: down

  bool operator==(const HealthCheck&) const = default;
};

// Immutable once in a Snapshot, and shared between snapshots when nothing in it changed, so that
// comparing two states compares pointers first.
struct Service {
  ServiceKey key;
  std::string name;
  Balance balance = Balance::LeastConn;
  std::string origin;             // file or key prefix, for messages
  std::vector<Backend> backends;  // sorted by address, no address twice
  // The source named a port and no address: key.address is this host's publish.address.
  bool default_address = false;
  std::optional<HealthCheck> check{};                        // nullopt: lbd does not look itself
  std::optional<std::chrono::milliseconds> drain_timeout{};  // nullopt: drain.timeout
  // IPVS only: false keeps 127.0.0.1 as what local backends see of local clients, and refuses
  // backends elsewhere (docs/OPERATIONS.md).
  bool launder = true;

  bool operator==(const Service&) const = default;
};
using ServicePtr = std::shared_ptr<const Service>;

// Why something that was there is missing from a snapshot. Decided by the source for the whole
// snapshot: is its absence evidence, or may it be an accident (src/state/guard.h)?
enum class Absence : std::uint8_t {
  Believed,  // an edited file, a DELETE without lease, a complete linearizable range
  Guarded,   // must pass the wipe guard: expiry, changed cluster, older revision, empty root
};

// All that a source says at one moment. Sorted by key, no key twice.
struct Snapshot {
  std::vector<ServicePtr> services;
  std::vector<std::string> warnings;  // one line each, names file:line or key; what was left out
  Absence absence = Absence::Believed;
  std::string
      revision;   // the source's own (etcd: sources/etcd_position.h); empty where there is none
  SysTime as_of;  // when it was read
  // Ids of backends that are known to have gone (an event told of their end, or their app was asked
  // for by name), sorted: believed even where absence is Guarded. Not saved.
  std::vector<std::string> gone{};
  // Of a source that polls: when this reading began. Two snapshots of one reading are one reading, and
  // silence between readings confirms nothing. nullopt: the source stands by what it said last.
  std::optional<std::chrono::steady_clock::time_point> polled_at{};
  // What is missing are single leases that ran out, not a listing that lacks it: one alone is its own
  // silence, even where it is all of a source.
  bool lapses = false;
};

// Backends that get no new connections for reasons that their source does not know: drained by an operator,
// or down by lbd's own checks. What is left without them may be less than the source thinks.
using Unused = std::set<std::pair<ServiceKey, Address>>;

[[nodiscard]] std::string_view to_string(Protocol protocol);
[[nodiscard]] std::string_view to_string(Balance balance);
[[nodiscard]] std::string_view to_string(HealthCheck::Type type);  // "tcp", "http"
[[nodiscard]] std::string_view to_string(BackendState state);
[[nodiscard]] std::string_view to_string(Reason reason);  // "" for None
[[nodiscard]] Result<Protocol> parse_protocol(std::string_view text);
[[nodiscard]] Result<Balance> parse_balance(std::string_view text);
[[nodiscard]] Result<HealthCheck::Type> parse_health_check_type(std::string_view text);
[[nodiscard]] Result<BackendState> parse_backend_state(std::string_view text);
[[nodiscard]] Result<Reason> parse_reason(std::string_view text);

}  // namespace lb
