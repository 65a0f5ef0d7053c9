// Any bytes as a datagram of rtnetlink or sock_diag: what comes out is an address, a listener or a socket, or nothing.
#include <linux/netlink.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "ebpf/sock_diag.h"
#include "reconcile/listeners.h"
#include "reconcile/local_addresses.h"
#include "reconcile/netlink.h"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb;
  const auto bytes = std::as_bytes(std::span(data, size));
  std::size_t messages = 0;
  const auto each = [&](const nlmsghdr& header, std::span<const std::byte> payload) {
    ++messages;
    require(header.nlmsg_len == payload.size() + NLMSG_HDRLEN);
    (void)parse_address(payload);
    for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp})
      if (const auto listener = parse_listener(protocol, payload)) require(listener->port != 0);
  };
  const auto whole = parse_dump(bytes, each);
  if (!whole) require(whole.error().code.value() != 0);
  require(messages <= size / sizeof(nlmsghdr));
  std::vector<lb_socket> sockets;
  (void)bpf::parse_sockets(bytes, sockets);
  require(sockets.size() <= size / sizeof(nlmsghdr));
  return 0;
}
