#include "dataplane/early_connections.h"

#include <netinet/tcp.h>

#include <algorithm>

#include <spdlog/spdlog.h>

#include "ebpf/abi.h"
#include "ebpf/sock_diag.h"
#include "nft/flows.h"

namespace lb {
namespace {

// A handshake is repeated until it is answered, and seen.
bool is_open(const lb_socket& socket) {
  return socket.state != TCP_SYN_SENT && socket.state != TCP_SYN_RECV;
}

}  // namespace

Result<> EarlyConnections::look() {
  LB_TRY(const auto sockets, bpf::list_tcp());
  open_.clear();
  for (const lb_socket& socket : sockets) {
    const Connection each{bpf::peer_end(socket), bpf::local_end(socket)};
    if (is_open(socket) && !each.local.ip.is_loopback()) open_.push_back(each);
  }
  std::ranges::sort(open_, {}, &Connection::peer);
  return {};
}

Result<> EarlyConnections::make_known(const std::vector<Address>& backends) {
  std::size_t added = 0;
  for (const Address& backend : backends) {
    const auto those = std::ranges::equal_range(open_, backend, {}, &Connection::peer);
    if (those.empty()) continue;
    LB_TRY(nft::Flows flows, nft::Flows::open());
    for (const Connection& each : those) {
      LB_TRY(const bool fresh, flows.add_open(each.local, each.peer));
      added += fresh ? 1 : 0;
    }
    open_.erase(those.begin(), those.end());
  }
  if (added > 0)
    spdlog::info("connections from before are made known to connection tracking: {}", added);
  return {};
}

}  // namespace lb
