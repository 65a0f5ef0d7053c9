/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The way of a connect, and of a datagram on an unconnected socket: from the address that the
 * application wrote to a backend's.
 */
#ifndef LB_CONNECT_H
#define LB_CONNECT_H

#include "lb_select.h"

enum lb_verdict {
	LB_NOT_A_SERVICE = 0,
	LB_STEERED = 1,
	LB_NO_BACKEND = 2,
};

/* What the entry points read from the context and write back to it. */
struct lb_request {
	struct lb_addr key;         /* in: as the application wrote it */
	__u32 family;               /* in: enum lb_family */
	struct lb_backend *backend; /* out, when steered */
};

static __always_inline int lb_out_of_scope(struct bpf_sock_addr *ctx)
{
	return lb_netns_cookie && bpf_get_netns_cookie(ctx) != lb_netns_cookie;
}

static __always_inline int lb_is_direct(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__u64 cgroup;

	if (sk && sk->priority == LB_DIRECT_PRIORITY)
		return 1;
	cgroup = bpf_get_current_cgroup_id();
	return bpf_map_lookup_elem(&own_cgroups, &cgroup) != NULL;
}

static __always_inline int lb_is_v4(const __be32 ip[4])
{
	return !(ip[0] | ip[1]) && ip[2] == bpf_htonl(0xffff);
}

static __always_inline int lb_is_v6_loopback(const __be32 ip[4])
{
	return !(ip[0] | ip[1] | ip[2]) && ip[3] == bpf_htonl(1);
}

static __always_inline int lb_same_addr(const struct lb_addr *a, const struct lb_addr *b)
{
	return a->port == b->port && a->proto == b->proto && a->ip[3] == b->ip[3] &&
	       a->ip[2] == b->ip[2] && a->ip[1] == b->ip[1] && a->ip[0] == b->ip[0];
}

/*
 * Would a connect find a listener? Asked for 127/8 and ::1 only: a container's published port has no
 * listener in this namespace, since the packets are rewritten on their way.
 */
static __always_inline int lb_listens(struct bpf_sock_addr *ctx, const struct lb_backend *backend)
{
	const struct lb_addr *to = &backend->address;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size, state;

	if (lb_is_v4(to->ip)) {
		if ((to->ip[3] & bpf_htonl(0xff000000)) != bpf_htonl(0x7f000000))
			return 1;
		tuple.ipv4.saddr = to->ip[3];
		tuple.ipv4.daddr = to->ip[3];
		tuple.ipv4.dport = to->port;
		size = sizeof(tuple.ipv4);
	} else {
		if (!lb_is_v6_loopback(to->ip))
			return 1;
		tuple.ipv6.saddr[3] = bpf_htonl(1);
		tuple.ipv6.daddr[3] = bpf_htonl(1);
		tuple.ipv6.dport = to->port;
		size = sizeof(tuple.ipv6);
	}
	sk = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state == TCP_LISTEN;
}

struct lb_search {
	struct bpf_sock_addr *ctx;
	__u64 set;
	__u32 position; /* of the first choice */
	__u32 found;    /* 0 until one listens */
	struct lb_tried tried;
};

static long lb_search_step(__u32 i __attribute__((unused)), struct lb_search *search)
{
	__u32 id = lb_select_again(search->set, &search->tried, search->position);
	struct lb_backend *backend = id ? lb_backend_at(id) : NULL;
	__u32 at = search->tried.count;

	if (!backend)
		return 1;
	if (lb_listens(search->ctx, backend)) {
		search->found = id;
		return 1;
	}
	if (at < LB_MAX_TRIES)
		search->tried.id[at] = id;
	search->tried.count = at + 1;
	return 0;
}

/*
 * The first choice does not listen: try others. When none listens the first choice stands, so that the
 * failure is seen and counted. A bpf_loop, since the verifier walks an open loop once per try.
 */
static __noinline __u32 lb_find_listening(struct bpf_sock_addr *ctx, __u64 set, __u32 first,
					  __u32 position)
{
	struct lb_search search = {
		.ctx = ctx,
		.set = set,
		.position = position,
		.tried = { .count = 1, .id = { first } },
	};

	bpf_loop(LB_MAX_TRIES - 1, lb_search_step, &search, 0);
	return search.found ? search.found : first;
}

/* One read: the set may be switched at any moment. Spelled out, for the verifier must see each offset. */
static __always_inline __u64 lb_set_of(const struct lb_service *service, __u32 family)
{
	if (family == LB_FAMILY_V4)
		return *(volatile const __u64 *)&service->set[LB_FAMILY_V4];
	if (family == LB_FAMILY_V6)
		return *(volatile const __u64 *)&service->set[LB_FAMILY_V6];
	return *(volatile const __u64 *)&service->set[LB_FAMILY_ANY];
}

static __always_inline __u32 lb_choose(struct bpf_sock_addr *ctx, struct lb_service *service,
				       struct lb_request *request, __u32 proto)
{
	__u64 set = lb_set_of(service, request->family);
	struct lb_choice choice = { .random = bpf_get_prandom_u32(), .cursor = &service->cursor };
	__u32 id, position;

	if (LB_SET_POLICY(set) == LB_POLICY_HASH)
		choice.hash =
			lb_hash_client((__u32)bpf_get_current_uid_gid(), bpf_get_netns_cookie(ctx));
	id = lb_select(set, &choice, &position);
	request->backend = id ? lb_backend_at(id) : NULL;
	if (!request->backend)
		return 0;
	if (proto != IPPROTO_TCP || lb_listens(ctx, request->backend))
		return id;
	id = lb_find_listening(ctx, set, id, position);
	request->backend = lb_backend_at(id);
	return id;
}

static __always_inline void lb_remember_tcp(struct bpf_sock_addr *ctx, struct lb_request *request,
					    __u32 id)
{
	struct bpf_sock *sk = ctx->sk;
	int mark =
		lb_is_v6_loopback(request->key.ip) ? LB_MARK_STEERED_V6_LOOPBACK : LB_MARK_STEERED;
	struct lb_flow *flow;

	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_SAVE_SYN, &mark, sizeof(mark));
	if (!(request->backend->flags & LB_BACKEND_REMEMBER) || !sk)
		return;
	flow = bpf_sk_storage_get(&tcp_flows, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flow)
		return;
	flow->backend = id;
	flow->generation = request->backend->generation;
	flow->service = request->key;
}

static __always_inline void lb_remember_udp(struct bpf_sock_addr *ctx, struct lb_request *request,
					    __u32 id)
{
	struct bpf_sock *sk = ctx->sk;
	struct lb_udp_flows *flows;
	__u32 at;

	if (!sk)
		return;
	flows = bpf_sk_storage_get(&udp_flows, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flows)
		return;
	at = LB_UDP_FLOWS;
	for (__u32 i = 0; i < LB_UDP_FLOWS; i++)
		if (at == LB_UDP_FLOWS && lb_same_addr(&flows->flow[i].service, &request->key))
			at = i;
	if (at == LB_UDP_FLOWS)
		at = flows->next++;
	at &= LB_UDP_FLOWS - 1;
	flows->flow[at].backend = id;
	flows->flow[at].generation = request->backend->generation;
	flows->flow[at].service = request->key;
}

/* 0.0.0.0 and :: mean this host (as the kernel's own connect has it): the loopback service. */
static __always_inline void lb_normalise(struct lb_addr *key)
{
	if (key->ip[3])
		return;
	if (lb_is_v4(key->ip))
		key->ip[3] = bpf_htonl(0x7f000001);
	else if (!(key->ip[0] | key->ip[1] | key->ip[2]))
		key->ip[3] = bpf_htonl(1);
}

static __always_inline struct lb_service *lb_service_of(const struct lb_addr *key)
{
	__u32 *index = bpf_map_lookup_elem(&service_ids, key);
	__u32 at;

	if (!index)
		return NULL;
	at = *index;
	return bpf_map_lookup_elem(&services, &at);
}

/* Map look-ups on this path: service_ids, services, slots and backends per candidate; no more. */
static __always_inline enum lb_verdict lb_steer(struct bpf_sock_addr *ctx,
						struct lb_request *request, __u32 proto)
{
	struct lb_service *service;
	__u32 id;

	lb_normalise(&request->key);
	service = lb_service_of(&request->key);
	if (!service || lb_out_of_scope(ctx) || lb_is_direct(ctx))
		return LB_NOT_A_SERVICE;
	id = lb_choose(ctx, service, request, proto);
	if (!id || !request->backend) {
		bpf_set_retval(-ECONNREFUSED);
		return LB_NO_BACKEND;
	}
	__sync_fetch_and_add(&request->backend->opened, 1);
	if (proto == IPPROTO_TCP)
		lb_remember_tcp(ctx, request, id);
	else
		lb_remember_udp(ctx, request, id);
	return LB_STEERED;
}

/* Not to a service: a socket that was steered before (disconnected, or refused) is so no longer. */
static __always_inline void lb_forget(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	int none = 0;

	if (!sk || !lb_mark_of(sk))
		return;
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_SAVE_SYN, &none, sizeof(none));
	bpf_sk_storage_delete(&tcp_flows, sk);
}

/*
 * An unconnected socket stays with its backend while that one takes new connections: datagrams of one
 * exchange belong together. A drained backend is out of the set, and its generation or the set tells.
 */
static __always_inline int lb_still_steered(struct bpf_sock_addr *ctx, struct lb_request *request)
{
	struct bpf_sock *sk = ctx->sk;
	struct lb_udp_flows *flows;
	struct lb_backend *backend;

	lb_normalise(&request->key);
	flows = sk ? bpf_sk_storage_get(&udp_flows, sk, NULL, 0) : NULL;
	if (!flows)
		return 0;
	for (__u32 i = 0; i < LB_UDP_FLOWS; i++) {
		if (!lb_same_addr(&flows->flow[i].service, &request->key))
			continue;
		backend = lb_backend_at(flows->flow[i].backend);
		if (!backend || backend->generation != flows->flow[i].generation ||
		    !(backend->flags & LB_BACKEND_IN_USE))
			return 0;
		request->backend = backend;
		return 1;
	}
	return 0;
}

#endif /* LB_CONNECT_H */
