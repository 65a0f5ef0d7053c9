// One netlink dump from the kernel, for the two protocols that reconcile reads (rtnetlink for the
// host's addresses, sock_diag for listeners). Knows no message but the framing.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <functional>
#include <span>

#include "base/result.h"

namespace lb {

// Calls `each` with the header and payload of every message of a reply. Result: true when the dump
// is complete (NLMSG_DONE), false when more datagrams follow. EAGAIN: the kernel's tables changed
// while it was dumped (NLM_F_DUMP_INTR), take it again.
[[nodiscard]] Result<bool> parse_dump(
    std::span<const std::byte> datagram,
    const std::function<void(const nlmsghdr&, std::span<const std::byte>)>& each);

// Sends `type` with `payload` as a dump request on a new socket of `protocol` and reads the reply
// to its end. Blocking, but the kernel answers from within the calls; a receive timeout of a second
// is the safety net.
[[nodiscard]] Result<> netlink_dump(
    int protocol, std::uint16_t type, std::span<const std::byte> payload,
    const std::function<void(const nlmsghdr&, std::span<const std::byte>)>& each);

}  // namespace lb
