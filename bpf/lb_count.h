/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Exact counts of TCP connections, from SYN_SENT to CLOSE, by one tracepoint and without memory per
 * connection: a steered socket carries a mark, and its peer's address names the line. A recount takes
 * the truth from the sockets themselves while connections come and go.
 */
#ifndef LB_COUNT_H
#define LB_COUNT_H

#include "lb_eject.h"

/* Which lines a socket counts on. */
struct lb_counted {
	__u32 owner_id, member_id; /* member_id 0: the owner's own service */
	struct lb_backend *owner, *member;
};

/* In another namespace an equal peer address is another machine's. */
static __always_inline int lb_in_scope(struct sock_common *sk)
{
	return !lb_netns_cookie || sk->skc_net.net->net_cookie == lb_netns_cookie;
}

static __always_inline void lb_peer_of(struct sock_common *sk, struct lb_addr *peer)
{
	peer->ip[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
	peer->ip[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
	peer->ip[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
	peer->ip[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
	peer->port = sk->skc_dport;
	peer->proto = IPPROTO_TCP;
	peer->pad = 0;
}

static __always_inline int lb_find_counted(void *sk, struct lb_counted *counted)
{
	struct lb_addr peer;
	struct lb_flow *flow;
	struct lb_backend *member;
	__u32 *id;

	if (!lb_in_scope(sk))
		return 0;
	lb_peer_of(sk, &peer);
	id = bpf_map_lookup_elem(&address_ids, &peer);
	counted->owner_id = id ? *id : 0;
	counted->member_id = 0;
	counted->member = NULL;
	counted->owner = id ? lb_backend_at(counted->owner_id) : NULL;
	if (!counted->owner)
		return 0;
	if (!(counted->owner->flags & LB_BACKEND_RECALL))
		return 1;
	flow = bpf_sk_storage_get(&tcp_flows, sk, NULL, 0);
	if (!flow || flow->backend == counted->owner_id)
		return 1;
	member = lb_backend_at(flow->backend);
	if (member && member->generation == flow->generation &&
	    member->owner == counted->owner_id && member->flags & LB_BACKEND_MEMBER) {
		counted->member_id = flow->backend;
		counted->member = member;
	}
	return 1;
}

static __always_inline void lb_add(const struct lb_counted *counted, __s32 delta)
{
	__sync_fetch_and_add(&counted->owner->active, delta);
	if (counted->member)
		__sync_fetch_and_add(&counted->member->active, delta);
}

/* ---- recount ---- */

/*
 * A socket's part in the recount of `epoch`: the upper half of its mark. The walk over all sockets and
 * the tracepoint race for it, and the compare-and-swap lets exactly one of them decide, so that no
 * socket is counted twice and none that closes meanwhile is counted for ever.
 */
enum lb_recount_state {
	LB_RECOUNT_COUNTED = 1,
	LB_RECOUNT_CLOSED = 2,
};

#define LB_RECOUNT_MARK(epoch, state) ((__u64)(epoch) << 32 | (state))

static __always_inline void lb_recount_add(const struct lb_counted *counted, __s32 delta)
{
	struct lb_backend_cold *owner = bpf_map_lookup_elem(&cold, &counted->owner_id);
	struct lb_backend_cold *member;

	if (owner)
		__sync_fetch_and_add(&owner->recounted, delta);
	if (!counted->member)
		return;
	member = bpf_map_lookup_elem(&cold, &counted->member_id);
	if (member)
		__sync_fetch_and_add(&member->recounted, delta);
}

/* The walk met a socket that is not closed. */
static __always_inline void lb_recount_visit(struct sock *sk, const struct lb_counted *counted,
					     __u32 epoch)
{
	__u64 *mark = bpf_sk_storage_get(&recount_marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 seen;

	if (!mark)
		return;
	seen = *(volatile __u64 *)mark;
	if (seen >> 32 == epoch)
		return;
	if (__sync_val_compare_and_swap(mark, seen, LB_RECOUNT_MARK(epoch, LB_RECOUNT_COUNTED)) ==
	    seen)
		lb_recount_add(counted, 1);
}

/* A socket opens or closes while a recount is in progress. */
static __always_inline void lb_recount_follow(struct sock *sk, const struct lb_counted *counted,
					      __u32 epoch, int opens)
{
	__u64 *mark = bpf_sk_storage_get(&recount_marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 before;

	if (!mark)
		return;
	before = __sync_lock_test_and_set(
		mark, LB_RECOUNT_MARK(epoch, opens ? LB_RECOUNT_COUNTED : LB_RECOUNT_CLOSED));
	if (opens)
		lb_recount_add(counted, 1);
	else if (before == LB_RECOUNT_MARK(epoch, LB_RECOUNT_COUNTED))
		lb_recount_add(counted, -1);
}

/* ---- failures ---- */

/*
 * Is the socket one of lbd's own namespace (in a container's, its root can refuse by a firewall of its
 * own), bound to no address and no device, without IP options, limits of TTL or a type of service (by
 * which rules may route)? What it meets then, lbd would meet as well.
 */
static __always_inline int lb_is_plain(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct inet_sock *inet;
	struct ipv6_pinfo *v6;

	/* Without a scope it is not known which namespace is lbd's. */
	if (!lb_netns_cookie || !tcp || !lb_in_scope(&sk->__sk_common) ||
	    sk->__sk_common.skc_bound_dev_if ||
	    BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDADDR_LOCK)
		return 0;
	inet = &tcp->inet_conn.icsk_inet;
	if (inet->inet_opt || inet->uc_ttl != -1 || inet->min_ttl || inet->tos)
		return 0;
	if (sk->__sk_common.skc_family != AF_INET6)
		return 1;
	v6 = bpf_core_field_exists(inet->pinet6) ? inet->pinet6 : NULL;
	return v6 && !v6->opt && !v6->min_hopcount &&
	       (__s16)BPF_CORE_READ_BITFIELD(v6, hop_limit) == -1;
}

static __always_inline void lb_emit(__u32 id, __u32 generation, __u8 kind, __u32 error, __u8 plain)
{
	struct lb_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	struct lb_control *knobs;

	if (!event) {
		knobs = lb_control();
		if (knobs)
			__sync_fetch_and_add(&knobs->lost_events, 1);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->backend = id;
	event->generation = generation;
	event->kind = kind;
	event->plain = plain;
	event->error = error;
	bpf_ringbuf_submit(event, 0);
}

/* The line whose service the failure belongs to. */
static __always_inline __u32 lb_blame(const struct lb_counted *counted, __u32 *generation)
{
	*generation = counted->member ? counted->member->generation : counted->owner->generation;
	return counted->member ? counted->member_id : counted->owner_id;
}

static __always_inline void lb_count_failure(struct sock *sk, const struct lb_counted *counted)
{
	__u32 generation, id = lb_blame(counted, &generation), error = sk->sk_err;
	struct lb_backend_cold *line = bpf_map_lookup_elem(&cold, &id);
	__u8 kind, plain = (__u8)lb_is_plain(sk);

	if (!line)
		return;
	if (error == ECONNREFUSED) {
		kind = LB_EVENT_REFUSED;
		__sync_fetch_and_add(&line->refused, 1);
		lb_eject(counted->member ? counted->member : counted->owner, line, plain);
	} else if (error == ETIMEDOUT) {
		kind = LB_EVENT_TIMED_OUT;
		__sync_fetch_and_add(&line->timed_out, 1);
	} else if (!error) {
		kind = LB_EVENT_GAVE_UP;
		__sync_fetch_and_add(&line->gave_up, 1);
	} else {
		kind = LB_EVENT_OTHER;
		__sync_fetch_and_add(&line->other, 1);
	}
	lb_emit(id, generation, kind, error, plain);
}

static __always_inline void lb_count_state(struct sock *sk, int old_state, int new_state)
{
	int opens = new_state == TCP_SYN_SENT;
	struct lb_counted counted;
	struct lb_control *knobs;

	if (old_state == TCP_LISTEN || !lb_find_counted(sk, &counted))
		return;
	lb_add(&counted, opens ? 1 : -1);
	knobs = lb_control();
	if (knobs && knobs->recount_epoch)
		lb_recount_follow(sk, &counted, knobs->recount_epoch, opens);
	if (!opens && old_state == TCP_SYN_SENT)
		lb_count_failure(sk, &counted);
}

/* Every SYN that is sent again is counted; only the first one of a connect is an event. */
static __always_inline void lb_count_retransmit(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct lb_counted counted;
	struct lb_backend_cold *line;
	__u32 id, generation;

	if (!tcp || !lb_find_counted(sk, &counted))
		return;
	id = lb_blame(&counted, &generation);
	line = bpf_map_lookup_elem(&cold, &id);
	if (!line)
		return;
	__sync_fetch_and_add(&line->syn_retransmits, 1);
	/* One that tries for all others: they wait longer. */
	if (lb_cooldown_of(counted.member ? counted.member : counted.owner) & LB_COOLDOWN_TRIAL)
		lb_eject(counted.member ? counted.member : counted.owner, line, lb_is_plain(sk));
	if (tcp->total_retrans <= 1)
		lb_emit(id, generation, LB_EVENT_SYN_RETRANSMITTED, 0, 0);
}

#endif /* LB_COUNT_H */
