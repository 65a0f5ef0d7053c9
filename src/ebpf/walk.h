// Walks over sockets: recounting what is active, finding steered sockets, destroying them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "bpf/lb_abi.h"
#include "ebpf/maps.h"

struct lbd;  // the generated skeleton

namespace lb::bpf {

// Corrects `active` of the given lines by what the sockets say, while connections come and go: exact
// counts are kept beside the ones in force for the time of the walk, and only the difference is
// applied. Returns by how much all lines together were wrong. All network namespaces when
// `all_namespaces`, else the caller's.
[[nodiscard]] Result<std::uint64_t> recount(lbd& skeleton, Maps& maps,
                                            const std::vector<std::uint32_t>& lines,
                                            bool all_namespaces);

// Steered TCP sockets that are not closed, in the caller's network namespace.
[[nodiscard]] Result<std::vector<lb_socket>> steered_tcp(lbd& skeleton);
// Connected UDP sockets that are still where they were steered to, in all network namespaces.
[[nodiscard]] Result<std::vector<lb_socket>> steered_udp(lbd& skeleton);

// Ends the sockets (SOCK_DESTROY): their owners see ECONNABORTED. Returns how many were there; each is
// named by addresses and cookie, so that no other can be hit. Caller's network namespace.
[[nodiscard]] Result<std::uint64_t> destroy(const std::vector<lb_socket>& sockets);

}  // namespace lb::bpf
