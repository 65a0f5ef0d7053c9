// The one place where our values become the kernel's and back: byte order changes here and nowhere
// else.
#pragma once

#include "bpf/lb_abi.h"
#include "model/service.h"

namespace lb::bpf {

[[nodiscard]] lb_addr to_abi(Protocol protocol, const Address& address);
[[nodiscard]] lb_addr to_abi(const ServiceKey& key);

[[nodiscard]] Address address_from_abi(const lb_addr& addr);
[[nodiscard]] ServiceKey key_from_abi(const lb_addr& addr);
[[nodiscard]] Address local_end(const lb_socket& socket);
[[nodiscard]] Address peer_end(const lb_socket& socket);

// A free line or entry has port 0.
[[nodiscard]] inline bool is_set(const lb_addr& addr) { return addr.port != 0; }

}  // namespace lb::bpf
