// Which of the services that an lbd has now a configuration does not let it have, or publish: asked before an upgrade that narrows
// what sources may claim. Reads, and changes nothing.
#pragma once

#include <string>
#include <vector>

#include "base/host_name.h"
#include "daemon/config.h"
#include "model/desired.h"
#include "model/reach.h"

namespace lb {

struct UpgradeCheck {
  // Refused or LocalOnly, with the line of configuration that allows more in `text`. Sorted by key.
  std::vector<DesiredServicePtr> narrowed;
  std::size_t services = 0;          // in all
  std::vector<std::string> unknown;  // sources of which nothing is saved, a sentence each
  // Of updaters' sources whose certificate does not name this host, a sentence each.
  std::vector<std::string> certificates;
  std::vector<std::string> hints;  // what is known elsewhere only
};

// By the snapshots that are saved in the configuration's state_dir, for a host with these addresses and this name.
[[nodiscard]] UpgradeCheck check_upgrade(const Config& config, const HostView& host,
                                         const std::string& node = host_name());
// Lines for people, the last one says how many.
[[nodiscard]] std::string render(const UpgradeCheck& check);

}  // namespace lb
