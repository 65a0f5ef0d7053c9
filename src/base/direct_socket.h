// Connections of lbd's own that must reach the very address they name, also where that address is a
// service: a health probe asks one backend, not whoever is chosen.
#pragma once

namespace lb {

// The SO_PRIORITY by which the connect hooks know such a socket (bpf/lb_abi.h, LB_DIRECT_PRIORITY).
// Setting it needs CAP_NET_ADMIN, which an lbd that attaches hooks has. A priority, since routing and
// firewalls look at marks, and only queueing disciplines at priorities: this one names no class of
// any, and its lower four bits stand for best effort as without it.
constexpr int kDirectPriority = 0x6c60;

}  // namespace lb
