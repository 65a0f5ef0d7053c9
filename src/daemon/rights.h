// What each source may do on this host, from the whole of the configuration. Pure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "model/reach.h"

namespace lb {

// Where lbd connects to for its sources.
struct DialledEndpoint {
  std::string host;  // a name or an address
  Port port = 0;
  std::string what;  // "the etcd endpoint http://etcd1:2379"

  auto operator<=>(const DialledEndpoint&) const = default;
};

// Of etcd, Marathon, DC/OS's login and updaters, in the order of the configuration.
[[nodiscard]] std::vector<DialledEndpoint> dialled_endpoints(const Config& config);

// An updater alone takes no addresses: what it serves is for other hosts, each of which decides for itself.
[[nodiscard]] std::shared_ptr<const Reach> reach_for(const SourceConfig& source,
                                                     const Config& config);
// Of a source that is configured no more. `claims` is what it might claim, as AddressRanges::to_string(); "": not known.
[[nodiscard]] std::shared_ptr<const Reach> reach_of_former(const std::string& type,
                                                           const std::string& claims,
                                                           const Config& config);

}  // namespace lb
