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
	__u32 near;                 /* in: LB_NEAR or 0 */
	struct lb_backend *backend; /* out, when steered */
};

static __always_inline int lb_is_v4(const __be32 ip[4])
{
	return !(ip[0] | ip[1]) && ip[2] == bpf_htonl(0xffff);
}

static __always_inline int lb_is_v6_loopback(const __be32 ip[4])
{
	return !(ip[0] | ip[1] | ip[2]) && ip[3] == bpf_htonl(1);
}

/*
 * Does the socket's own address or device keep its packets on this host? It is bound so, or (UDP) an earlier
 * connect has left it so. The kernel would refuse another backend with EINVAL, or its packets would vanish.
 */
static __always_inline __u32 lb_near4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 0;
	if (sk->bound_dev_if == LOOPBACK_IFINDEX)
		return LB_NEAR;
	return (sk->src_ip4 & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ? LB_NEAR : 0;
}

/* The same of an AF_INET6 socket; its address also says which family it can reach. */
static __always_inline __u32 lb_near6(struct bpf_sock_addr *ctx, __u32 *family)
{
	struct bpf_sock *sk = ctx->sk;
	__be32 ip[4];

	if (!sk)
		return 0;
	ip[0] = sk->src_ip6[0];
	ip[1] = sk->src_ip6[1];
	ip[2] = sk->src_ip6[2];
	ip[3] = sk->src_ip6[3];
	if (ip[0] | ip[1] | ip[2] | ip[3])
		*family = lb_is_v4(ip) ? LB_FAMILY_V4 : LB_FAMILY_V6;
	if (sk->bound_dev_if == LOOPBACK_IFINDEX || lb_is_v6_loopback(ip))
		return LB_NEAR;
	return lb_is_v4(ip) && (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ? LB_NEAR
											: 0;
}

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

/* lb_listens(), off the path that most connects take. */
LB_VERIFIED_ALONE int lb_still_listens(struct bpf_sock_addr *ctx, __u32 id)
{
	struct lb_backend *backend = lb_backend_at(id);

	if (!backend)
		return 0;
	return backend->address.proto != IPPROTO_TCP || lb_listens(ctx, backend);
}

struct lb_search {
	struct bpf_sock_addr *ctx;
	__u64 set;
	__u32 at;       /* index of the service */
	__u32 position; /* of the first choice */
	__u32 cutoff;   /* see lb_is_usable() */
	__u32 found;    /* 0 until one listens */
	__u32 refuses;  /* one that may be used but does not listen */
	struct lb_tried tried;
};

static __always_inline int lb_try(struct lb_search *search, __u32 id)
{
	struct lb_backend *backend = lb_backend_at(id);
	__u32 at = search->tried.count;
	int listens;

	if (!backend || !lb_is_usable(backend, id, search->cutoff) ||
	    lb_was_tried(&search->tried, id))
		return 0;
	listens = lb_still_listens(search->ctx, id);
	if (listens && lb_claim(id)) {
		search->found = id;
		return 1;
	}
	if (!listens && !search->refuses)
		search->refuses = id;
	if (at < LB_MAX_TRIES)
		search->tried.id[at] = id;
	search->tried.count = at + 1;
	return 0;
}

static long lb_search_step(__u32 i, struct lb_search *search)
{
	__u32 id = i < LB_MAX_TRIES ? lb_draw_again(search->set, search->at) : 0;

	if (!id)
		id = lb_select_again(search->set, &search->tried, search->position, search->cutoff);
	return id ? lb_try(search, id) : 1;
}

/*
 * The first choice is ejected, does not listen, or is too far away: try others. When none listens one that
 * does not stands, so that the failure is seen and counted. `place`: position of the first choice | LB_NEAR.
 * A bpf_loop, since the verifier walks an open loop once per try.
 */
LB_VERIFIED_ALONE __u32 lb_find_other(struct bpf_sock_addr *ctx, __u64 set, __u32 at, __u32 first,
				      __u32 place)
{
	__u32 near = place & LB_NEAR;
	struct lb_search search = {
		.ctx = ctx,
		.set = set,
		.at = at,
		.position = place & ~LB_NEAR,
		.cutoff = lb_cutoff(set) | near,
		.refuses = (__u32)lb_unknown_zero(set),
		.tried = { .count = (__u32)lb_unknown_zero(set) },
	};

	/* Least-connections has looked at free lines only, wherever they are, and must look again. */
	if (first && !(search.cutoff && LB_SET_POLICY(set) == LB_POLICY_LEAST) &&
	    lb_try(&search, first))
		return first;
	bpf_loop(2 * LB_MAX_TRIES, lb_search_step, &search, 0);
	if (search.found)
		return search.found;
	return search.refuses || near ? search.refuses : first;
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

static __always_inline __u32 lb_choose(struct bpf_sock_addr *ctx, __u32 at,
				       struct lb_service *service, struct lb_request *request,
				       __u32 proto)
{
	__u64 set = lb_set_of(service, request->family);
	struct lb_choice choice = { .random = bpf_get_prandom_u32(), .cursor = &service->cursor };
	__u32 id, position;

	if (LB_SET_POLICY(set) == LB_POLICY_HASH)
		choice.hash =
			lb_hash_client((__u32)bpf_get_current_uid_gid(), bpf_get_netns_cookie(ctx));
	id = lb_select(set, &choice, &position);
	request->backend = id ? lb_backend_at(id) : NULL;
	if (!LB_SET_COUNT(set))
		return 0;
	if (!request->near && request->backend &&
	    (proto != IPPROTO_TCP ||
	     (!request->backend->cooldown && !choice.ejected && lb_listens(ctx, request->backend))))
		return id;
	id = lb_find_other(ctx, set, at, id, position | request->near);
	request->backend = id ? lb_backend_at(id) : NULL;
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
	flows->last = (__u16)at;
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

/* No: there is no service on the port, whatever the address. */
static __always_inline int lb_may_be_service(const struct lb_addr *key)
{
	__u16 port = bpf_ntohs(key->port);
	__u32 at = LB_PORT_WORD(key->proto, port);
	__u64 *word = bpf_map_lookup_elem(&service_ports, &at);

	return word && *word & LB_PORT_BIT(port);
}

static __always_inline struct lb_service *lb_service_of(const struct lb_addr *key, __u32 *at)
{
	__u32 *index = bpf_map_lookup_elem(&service_ids, key);

	if (!index)
		return NULL;
	*at = *index;
	return bpf_map_lookup_elem(&services, at);
}

/*
 * Map look-ups on this path, after service_ports: service_ids, services, slots and backends per candidate;
 * no more while the first choice is well.
 */
static __always_inline enum lb_verdict lb_steer(struct bpf_sock_addr *ctx,
						struct lb_request *request, __u32 proto)
{
	struct lb_service *service;
	__u32 id, at = 0;

	lb_normalise(&request->key);
	service = lb_service_of(&request->key, &at);
	if (!service || lb_out_of_scope(ctx) || lb_is_direct(ctx))
		return LB_NOT_A_SERVICE;
	id = lb_choose(ctx, at, service, request, proto);
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

/* Not to a service: a socket that was steered before (disconnected, refused, or of UDP) is so no longer. */
static __always_inline void lb_forget(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	int none = 0;

	if (sk && ctx->protocol == IPPROTO_UDP)
		bpf_sk_storage_delete(&udp_flows, sk);
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
		if (flows->last != i)
			flows->last = (__u16)i;
		request->backend = backend;
		return 1;
	}
	return 0;
}

#endif /* LB_CONNECT_H */
