// Serves the clients that come from other hosts where the kernel has no IPVS: DNAT by lbd's own nft table, masqueraded, counted from
// conntrack. It looks only at published services (an address that is not a loopback one) and takes others as done;
// the clients on this host are the connect hooks' (publishing_dataplane.h joins the two). Connection tracking does not count what
// has been: total_connections is 0. least-conn and p2c choose at random, by weight.
#pragma once

#include <memory>
#include <string>

#include "dataplane/dataplane.h"

namespace lb {

struct NftOptions {
  std::string table = "lbd-dnat";  // not IPVS's: one may follow the other
  std::string state_dir;           // remembers former kernel settings
};

// Errors say what is missing (nf_tables, nf_conntrack, CAP_NET_ADMIN) and what to do. The table stays in force when
// the object goes; detach_nft() removes it.
[[nodiscard]] Result<std::unique_ptr<Dataplane>> open_nft_dataplane(NftOptions options);

// Did an lbd with this state_dir leave a table?
[[nodiscard]] bool nft_left_something(const std::string& state_dir);

// Removes the table and restores the kernel's settings.
[[nodiscard]] Result<> detach_nft(const NftOptions& options);

}  // namespace lb
