/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The way back: getpeername() and the source of a datagram show the address that the application
 * used, not the backend that it got.
 */
#ifndef LB_REVERSE_H
#define LB_REVERSE_H

#include "lb_connect.h"
#include "lb_count.h"

/* The service that a steered TCP socket asked for. */
static __always_inline int lb_service_of_tcp(struct bpf_sock *sk, struct lb_addr *service)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u32 mark = tcp ? BPF_CORE_READ_BITFIELD(tcp, save_syn) : 0;
	struct lb_backend *owner;
	struct lb_flow *flow;
	struct lb_addr peer;
	__u32 *id, at;

	if (!mark || !lb_in_scope((struct sock_common *)tcp))
		return 0;
	lb_peer_of((struct sock_common *)tcp, &peer);
	id = bpf_map_lookup_elem(&address_ids, &peer);
	if (!id)
		return 0;
	at = *id;
	owner = lb_backend_at(at);
	if (!owner)
		return 0;
	if (owner->flags & LB_BACKEND_RECALL) {
		flow = bpf_sk_storage_get(&tcp_flows, sk, NULL, 0);
		if (flow && flow->service.port) {
			*service = flow->service;
			return 1;
		}
	}
	*service = owner->service;
	if (mark == LB_MARK_STEERED_V6_LOOPBACK) {
		service->ip[0] = service->ip[1] = service->ip[2] = 0;
		service->ip[3] = bpf_htonl(1);
	}
	return 1;
}

/*
 * The service through which a UDP socket talks to `peer`; only if we steered it to that very address
 * (it may have been connected, or may be sending, elsewhere since).
 */
static __always_inline int lb_service_of_udp(struct bpf_sock *sk, const struct lb_addr *peer,
					     struct lb_addr *service)
{
	struct lb_udp_flows *flows = bpf_sk_storage_get(&udp_flows, sk, NULL, 0);
	struct lb_backend *backend;
	__u32 at;

	if (!flows)
		return 0;
	/* Of two services that share the backend, the one that was asked last. */
	at = flows->last;
	for (__u32 i = 0; i < LB_UDP_FLOWS; i++, at++) {
		at &= LB_UDP_FLOWS - 1;
		if (!flows->flow[at].service.port)
			continue;
		backend = lb_backend_at(flows->flow[at].backend);
		if (!backend || !lb_same_addr(&backend->address, peer))
			continue;
		*service = flows->flow[at].service;
		return 1;
	}
	return 0;
}

static __always_inline int lb_reverse(struct bpf_sock_addr *ctx, const struct lb_addr *peer,
				      struct lb_addr *service)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 0;
	if (peer->proto == IPPROTO_TCP)
		return lb_service_of_tcp(sk, service);
	return lb_service_of_udp(sk, peer, service);
}

#endif /* LB_REVERSE_H */
