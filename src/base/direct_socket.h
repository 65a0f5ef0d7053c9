// Connections of lbd's own that must reach the very address they name, also where that address is a
// service: a health probe asks one backend, not the one that is chosen, and who may claim a service must not become lbd's etcd.
#pragma once

namespace lb {

// The SO_PRIORITY by which the connect hooks know such a socket (bpf/lb_abi.h, LB_DIRECT_PRIORITY).
// Setting it needs CAP_NET_ADMIN, which an lbd that attaches hooks has. A priority, since routing and
// firewalls look at marks, and only queueing disciplines at priorities: this one names no class of
// any, and its lower four bits stand for best effort as without it.
constexpr int kDirectPriority = 0x6c60;

// Best effort: without the privilege an lbd is known by its cgroup ([dataplane] own_cgroups).
void make_direct(int socket) noexcept;

// All that this process dials from now on is direct: lbd says so of itself, lbctl is a client like others.
void dial_directly() noexcept;
// For each socket that is about to connect, in whatever thread.
void make_direct_if_asked(int socket) noexcept;

}  // namespace lb
