#include "dataplane/socket_destroy.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <cstring>
#include <memory>

#include "base/netlink_errno.h"

namespace lb {
namespace {

using Socket = std::unique_ptr<nl_sock, decltype(&nl_socket_free)>;

void put_address(const Address& from, __be32* ip, __be16& port) {
  port = htons(from.port);
  const auto& bytes = from.ip.bytes();
  if (from.ip.is_v4())
    std::memcpy(ip, bytes.data() + 12, 4);
  else
    std::memcpy(ip, bytes.data(), 16);
}

inet_diag_req_v2 request_for(Protocol protocol, const SocketPair& socket, std::uint8_t family) {
  inet_diag_req_v2 request{};
  request.sdiag_family = family;
  request.sdiag_protocol = protocol == Protocol::Tcp ? IPPROTO_TCP : IPPROTO_UDP;
  request.idiag_states = ~0U;
  put_address(socket.local, request.id.idiag_src, request.id.idiag_sport);
  put_address(socket.peer, request.id.idiag_dst, request.id.idiag_dport);
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return request;
}

// The errno of one request, 0 for done. libnl's own codes do not keep the kernel's.
Result<int> destroy_one(nl_sock* nl, inet_diag_req_v2 request) {
  int sent = nl_send_simple(nl, SOCK_DESTROY, NLM_F_ACK, &request, sizeof request);
  if (sent < 0) return fail(EIO, std::string("destroy a socket: ") + nl_geterror(sent));
  int kernel_error = 0;
  const std::unique_ptr<nl_cb, decltype(&nl_cb_put)> callbacks(nl_cb_alloc(NL_CB_DEFAULT),
                                                               &nl_cb_put);
  nl_cb_err(
      callbacks.get(), NL_CB_CUSTOM,
      [](sockaddr_nl*, nlmsgerr* answer, void* out) -> int {
        *static_cast<int*>(out) = netlink_errno(answer->error);
        return NL_STOP;
      },
      &kernel_error);
  nl_cb_set(
      callbacks.get(), NL_CB_ACK, NL_CB_CUSTOM, [](nl_msg*, void*) -> int { return NL_STOP; },
      nullptr);
  const int got = nl_recvmsgs(nl, callbacks.get());
  if (got < 0 && kernel_error == 0)
    return fail(EIO, std::string("destroy a socket: ") + nl_geterror(got));
  return kernel_error;
}

}  // namespace

Result<std::uint64_t> destroy_sockets(Protocol protocol, std::span<const SocketPair> sockets) {
  const Socket nl(nl_socket_alloc(), &nl_socket_free);
  if (!nl || nl_connect(nl.get(), NETLINK_SOCK_DIAG) < 0) return fail(EIO, "open sock_diag");
  std::uint64_t destroyed = 0;
  for (const SocketPair& socket : sockets) {
    // An IPv4 connection may be held by a socket of either family.
    const bool v4 = socket.peer.ip.is_v4();
    LB_TRY(const int error,
           destroy_one(nl.get(), request_for(protocol, socket, v4 ? AF_INET : AF_INET6)));
    if (error == 0)
      ++destroyed;
    else if (error != ENOENT)
      return fail(error, "destroy the socket " + socket.local.to_string());
  }
  return destroyed;
}

}  // namespace lb
