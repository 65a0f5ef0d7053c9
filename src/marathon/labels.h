// Per-service settings in an app's labels: lbd's own LBD_*, and those of marathon-lb that lbd
// understands. The table for users is in docs/OPERATIONS.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/service.h"

namespace lb::marathon {

// Of one port of an app; LBD_{n}_X goes before LBD_X, LBD_X before HAPROXY_*.
struct PortSettings {
  bool enabled = true;              // HAPROXY_{n}_ENABLED
  std::optional<Port> port;         // HAPROXY_{n}_PORT
  std::vector<std::string> groups;  // HAPROXY_{n}_GROUP, else HAPROXY_GROUP; empty: none named
  std::optional<Balance> balance;   // LBD_BALANCE, HAPROXY_{n}_BALANCE
  std::uint32_t weight = kDefaultWeight;                   // LBD_WEIGHT, of each backend
  std::optional<IpAddress> bind;                           // LBD_BIND
  std::optional<std::chrono::milliseconds> drain_timeout;  // LBD_DRAIN_TIMEOUT
  std::optional<HealthCheck> check;  // LBD_HEALTH_CHECK and the LBD_HEALTH_* beside it
};

// Nonsense in a label leaves the default in force and is added to `problems`: one sentence that
// names the label, its value and what to write. Those of the whole app come again for each port.
[[nodiscard]] PortSettings read_labels(const std::map<std::string, std::string>& labels,
                                       std::size_t index, std::vector<std::string>& problems);

// Labels that mean nothing to an app of so many ports: misspelt ones LBD_*, those of a port that is
// not there, and what lbd does not follow of HAPROXY_*.
void check_label_names(const std::map<std::string, std::string>& labels, std::size_t ports,
                       std::vector<std::string>& problems);

}  // namespace lb::marathon
