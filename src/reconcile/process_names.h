// The process behind a listener, for people. /proc is walked in a thread, for all sockets at once, and never more often than an
// unprivileged user may make us: at most once for each port and minute.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "reconcile/listeners.h"

namespace lb {

// "nginx (pid 123) of www-data (uid 33)" by inode.
using SocketNames = std::map<std::uint64_t, std::string>;

// The owners of these sockets, by inode. Those that are not found within `limit` are named by their users alone. Reads /proc and
// /etc/passwd: not for the loop.
[[nodiscard]] SocketNames find_processes(const std::string& proc,
                                         const std::map<std::uint64_t, Uid>& sockets,
                                         std::chrono::milliseconds limit);

class ProcessNames {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::minutes kAgain{1};           // for one port
  static constexpr std::chrono::milliseconds kLimit{3'000};  // of one walk
  // After a walk the next one waits so many times as long as that took.
  static constexpr int kRest = 10;

  // What is known now: "another process of uid 33" until take_wanted() has had it, and the walk has found it.
  [[nodiscard]] std::string of(const Listener& listener);
  // What a walk looks for now, inode and user; empty: nothing, or it is too early.
  [[nodiscard]] std::map<std::uint64_t, Uid> take_wanted(Time now);
  // What the walk that began at `began` has found.
  void found(SocketNames names, Time began, Time now);
  // Forgets all but these, which bounds what is kept.
  void keep_only(const std::vector<Listener>& listeners, Time now);

 private:
  using PortId = std::pair<Protocol, Port>;
  struct Wanted {
    PortId port;
    Uid uid = 0;
  };

  SocketNames names_;
  std::map<std::uint64_t, Wanted> wanted_;  // by inode
  std::map<PortId, Time> asked_;
  bool walking_ = false;
  Time rest_until_{};
};

}  // namespace lb
