// Who else listens on a service's port: LISTEN TCP sockets and bound, unconnected UDP sockets of
// this network namespace, by sock_diag. Reading is thin; what counts as a conflict, and who keeps a
// port, are pure functions. The process behind a socket: process_names.h.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/users.h"
#include "model/desired.h"
#include "reconcile/frontends.h"

namespace lb {

struct Listener {
  Protocol protocol = Protocol::Tcp;
  Port port = 0;
  IpAddress address;    // 0.0.0.0 and :: are different: the latter takes IPv4 too unless v6only
  bool v6only = false;  // false for IPv4 sockets
  std::uint64_t inode = 0;
  Uid uid = 0;  // of the process that made the socket, as lbd's user namespace knows him

  auto operator<=>(const Listener&) const = default;
};

// One inet_diag_msg with its attributes; nullopt for what is not a listener.
[[nodiscard]] std::optional<Listener> parse_listener(Protocol protocol,
                                                     std::span<const std::byte> payload);

// Sorted. Four dumps that the kernel filters by state: connections cost nothing.
[[nodiscard]] Result<std::vector<Listener>> read_listeners();

// Those of a port. `listeners` is sorted.
[[nodiscard]] std::span<const Listener> on_port(const std::vector<Listener>& listeners,
                                                Protocol protocol, Port port);

// Would this socket receive what a client sends to `to`, were there no service?
[[nodiscard]] bool receives(const Listener& listener, const Frontend& to);

// The foreign listeners that have this frontend of the service. A listener that is itself a backend of
// the service is none: it gets its share through the service. `listeners` is sorted; `local` are the
// host's addresses.
[[nodiscard]] std::vector<const Listener*> find_conflicts(const DesiredService& service,
                                                          const IpAddress& frontend,
                                                          const std::vector<Listener>& listeners,
                                                          const std::vector<IpAddress>& local);

// Users whose listeners a service leaves its port to. Anybody else's keeps it only where the service came
// later than the listener.
struct YieldTo {
  bool everybody = false;
  std::set<Uid> uids{0};

  [[nodiscard]] bool contains(Uid uid) const { return everybody || uids.contains(uid); }
  bool operator==(const YieldTo&) const = default;
};

}  // namespace lb
