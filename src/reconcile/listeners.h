// Who else listens on a service's port: LISTEN TCP sockets and bound, unconnected UDP sockets of
// this network namespace, by sock_diag, and the process behind one. Reading is thin; what counts as
// a conflict is a pure function.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/desired.h"
#include "reconcile/frontends.h"

namespace lb {

struct Listener {
  Protocol protocol = Protocol::Tcp;
  Port port = 0;
  IpAddress address;    // 0.0.0.0 and :: are different: the latter takes IPv4 too unless v6only
  bool v6only = false;  // false for IPv4 sockets
  std::uint64_t inode = 0;

  auto operator<=>(const Listener&) const = default;
};

// One inet_diag_msg with its attributes; nullopt for what is not a listener.
[[nodiscard]] std::optional<Listener> parse_listener(Protocol protocol,
                                                     std::span<const std::byte> payload);

// Sorted. Four dumps that the kernel filters by state: connections cost nothing.
[[nodiscard]] Result<std::vector<Listener>> read_listeners();

// Would this socket receive what a client sends to `to`, were there no service?
[[nodiscard]] bool receives(const Listener& listener, const Frontend& to);

// The first foreign listener that has this frontend of the service; null if there is none. A
// listener that is itself a backend of the service is none: it gets its share through the service.
// `listeners` is sorted; `local` are the host's addresses.
[[nodiscard]] const Listener* find_conflict(const DesiredService& service,
                                            const IpAddress& frontend,
                                            const std::vector<Listener>& listeners,
                                            const std::vector<IpAddress>& local);

// Names the process that has a socket, for people: "nginx (pid 123)". Looks through /proc/*/fd only
// when asked for an inode that it has not seen, and not for longer than `limit`: what is not found by
// then is "another process", until it was looked for elsewhere.
class ProcessNames {
 public:
  static constexpr std::chrono::milliseconds kLimit{10};

  explicit ProcessNames(std::string proc = "/proc", std::chrono::milliseconds limit = kLimit)
      : proc_(std::move(proc)), limit_(limit) {}
  [[nodiscard]] std::string of(std::uint64_t inode);
  // An inode that took too long, each once; find() finds it in whatever thread, and set() keeps that.
  [[nodiscard]] std::optional<std::uint64_t> take_late();
  [[nodiscard]] static std::string find(const std::string& proc, std::uint64_t inode);
  [[nodiscard]] const std::string& proc() const { return proc_; }
  void set(std::uint64_t inode, std::string name);
  // Forgets all but these, which bounds the cache.
  void keep_only(const std::vector<Listener>& listeners);

 private:
  std::string proc_;
  std::chrono::milliseconds limit_;
  std::map<std::uint64_t, std::string> names_;
  std::vector<std::uint64_t> late_;
};

}  // namespace lb
