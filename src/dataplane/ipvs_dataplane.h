// The IPVS dataplane: virtual services of the kernel's own load balancer. It also serves the clients of other hosts where the connect
// hooks serve local ones (publishing_dataplane.h).
#pragma once

#include <memory>
#include <string>

#include "dataplane/dataplane.h"

namespace lb {

struct IpvsOptions {
  std::string state_dir;      // the journal of what is ours, and the kernel's former settings
  bool outside_only = false;  // only published services, only clients of other hosts
  std::string table = "lbd";  // of nft
  std::string why{};          // it was chosen, for `lbctl status`; may be empty
};

// Needs ip_vs, nf_tables and CAP_NET_ADMIN; errors say which is missing and what to do. What is programmed stays
// in force when the object goes; detach_ipvs() removes it.
[[nodiscard]] Result<std::unique_ptr<Dataplane>> open_ipvs_dataplane(IpvsOptions options);

// Removes our virtual services, tables and addresses, and restores the kernel's settings. Connections through
// them end: IPVS has no other way.
[[nodiscard]] Result<> detach_ipvs(const IpvsOptions& options);
// Did an lbd with this state_dir leave something in IPVS, in this boot and network namespace?
[[nodiscard]] bool ipvs_left_something(const std::string& state_dir);

}  // namespace lb
