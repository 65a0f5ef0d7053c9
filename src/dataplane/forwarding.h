// Packets of outside clients and their answers must pass through this host: the kernel's forwarding, switched on only while a published
// service has a backend elsewhere, and only where it is needed.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "dataplane/sysctls.h"

namespace lb {

// What published services need: remote backends of which families.
struct ForwardingNeed {
  bool v4 = false, v6 = false;

  bool operator==(const ForwardingNeed&) const = default;
};

// Switches forwarding on. IPv4: on every interface but lo that has a global address. IPv6: the kernel only
// knows all of them (net.ipv6.conf.all.forwarding), and stops taking router advertisements where accept_ra is
// 1: those interfaces get 2 before, or the host would lose its default route. Never switches anything off.
// How many settings of lbd's were changed by others; an error when one of them cannot be set, after the others were.
[[nodiscard]] Result<std::size_t> forward_for(Sysctls& sysctls, ForwardingNeed need);
// Was forwarding off everywhere before lbd came? Then the nft table drops what is not ours (guard_forwarding).
// Asked before or after forward_for(): the answer is the same.
[[nodiscard]] bool forwarding_was_off(const Sysctls& sysctls);

}  // namespace lb
