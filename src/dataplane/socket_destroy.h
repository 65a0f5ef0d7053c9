// Ends sockets of this network namespace from outside, as `ss --kill` does.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "model/service.h"

namespace lb {

struct SocketPair {
  Address local, peer;
};

// Destroys the connected sockets with these ends and returns how many there were; one that is gone is no error. The
// program that has such a socket gets ECONNABORTED, the other end a reset. EOPNOTSUPP without CONFIG_INET_DIAG_DESTROY.
[[nodiscard]] Result<std::uint64_t> destroy_sockets(Protocol protocol,
                                                    std::span<const SocketPair> sockets);

}  // namespace lb
