// What this machine's kernel tells about an address: whether it is one of its own, who accepts there,
// and how many connections are open. Reading is thin; what counts is a pure function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/address.h"

namespace lb::lbctl {

struct SocketCount {
  std::uint64_t open = 0;  // connections that ending the process would hurt
  bool listening = false;

  SocketCount& operator+=(const SocketCount& other);
  bool operator==(const SocketCount&) const = default;
};

// `table` is /proc/net/tcp or tcp6. The server's ends of connections to `at`. Those count to which
// the server may still write, and those it has closed with bytes on their way: a container takes them
// along when it ends.
[[nodiscard]] SocketCount count_sockets(std::string_view table, const Address& at);

// The same of one message of a sock_diag dump.
[[nodiscard]] SocketCount count_socket(std::span<const std::byte> inet_diag, const Address& at);

// Of all these addresses together.
[[nodiscard]] Result<SocketCount> count_sockets(const std::vector<Address>& at);

// Loopback, or on one of this machine's interfaces.
[[nodiscard]] Result<bool> is_local(const IpAddress& ip);

}  // namespace lb::lbctl
