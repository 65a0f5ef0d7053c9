// Sockets of the caller's network namespace by NETLINK_SOCK_DIAG, which needs no BPF: listing connected
// TCP sockets, and ending sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "bpf/lb_abi.h"

namespace lb::bpf {

// TCP sockets from SYN_SENT to the end, without listeners, TIME_WAIT and those that are closed; `backend`
// and `generation` are 0, since the kernel does not say what they were steered to. An IPv4 address of an AF_INET6
// socket is ::ffff:a.b.c.d, and so is each address of an AF_INET socket.
[[nodiscard]] Result<std::vector<lb_socket>> list_tcp();

// One datagram of such a list. True: it was the last one.
[[nodiscard]] Result<bool> parse_sockets(std::span<const std::byte> datagram,
                                         std::vector<lb_socket>& out);

// Ends the sockets (SOCK_DESTROY): their owners see ECONNABORTED. Returns how many were there; each is
// named by addresses and cookie, so that no other can be hit.
[[nodiscard]] Result<std::uint64_t> destroy(const std::vector<lb_socket>& sockets);

}  // namespace lb::bpf
