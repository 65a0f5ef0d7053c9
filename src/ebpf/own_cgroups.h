// Which cgroups the connect hooks leave alone: those of lbds that may not mark their sockets (base/direct_socket.h).
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

struct lbd;

namespace lb::bpf {

class OwnCgroups {
 public:
  // `names` are folders below the cgroup2 mount; `skeleton` is loaded, and outlives this.
  OwnCgroups(lbd& skeleton, std::vector<std::string> names)
      : skeleton_(&skeleton), names_(std::move(names)) {}

  // Those that are there now, by the ids that they have now: a service that was started again has another cgroup under the same
  // name. How many came or went.
  [[nodiscard]] Result<std::size_t> follow();

 private:
  lbd* skeleton_;
  std::vector<std::string> names_;
  std::set<std::uint64_t> known_;  // as the map has them
  bool read_ = false;              // what an lbd before this one has left in it
};

}  // namespace lb::bpf
