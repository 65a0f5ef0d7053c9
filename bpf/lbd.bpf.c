/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The entry points: read the context into plain values, call the logic, write back. Everything else is
 * in the headers. Connect-time load balancing for the sockets of one cgroup, and two tracepoints that
 * count.
 */
#include "lb_reverse.h"

/* BPF_PROG() names every argument of the tracepoint, used or not. */
#pragma clang diagnostic ignored "-Wunused-parameter"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define LB_ALLOW  1
#define LB_REFUSE 0 /* with bpf_set_retval(): the caller sees that errno, never EPERM */

/* The kernel keeps user_port as 4 bytes of which the port is the first two, in network order. */
static __always_inline __be16 lb_port_of(struct bpf_sock_addr *ctx)
{
	return (__be16) * (volatile __u32 *)&ctx->user_port;
}

static __always_inline void lb_read4(struct bpf_sock_addr *ctx, __u8 proto, struct lb_addr *addr)
{
	addr->ip[0] = 0;
	addr->ip[1] = 0;
	addr->ip[2] = bpf_htonl(0xffff);
	addr->ip[3] = *(volatile __u32 *)&ctx->user_ip4;
	addr->port = lb_port_of(ctx);
	addr->proto = proto;
	addr->pad = 0;
}

static __always_inline void lb_read6(struct bpf_sock_addr *ctx, __u8 proto, struct lb_addr *addr)
{
	addr->ip[0] = *(volatile __u32 *)&ctx->user_ip6[0];
	addr->ip[1] = *(volatile __u32 *)&ctx->user_ip6[1];
	addr->ip[2] = *(volatile __u32 *)&ctx->user_ip6[2];
	addr->ip[3] = *(volatile __u32 *)&ctx->user_ip6[3];
	addr->port = lb_port_of(ctx);
	addr->proto = proto;
	addr->pad = 0;
}

static __always_inline void lb_write4(struct bpf_sock_addr *ctx, const struct lb_addr *addr)
{
	ctx->user_ip4 = addr->ip[3];
	ctx->user_port = addr->port;
}

static __always_inline void lb_write6(struct bpf_sock_addr *ctx, const struct lb_addr *addr)
{
	ctx->user_ip6[0] = addr->ip[0];
	ctx->user_ip6[1] = addr->ip[1];
	ctx->user_ip6[2] = addr->ip[2];
	ctx->user_ip6[3] = addr->ip[3];
	ctx->user_port = addr->port;
}

/* ---- connect ---- */

static __always_inline enum lb_verdict lb_connect(struct bpf_sock_addr *ctx,
						  struct lb_request *request)
{
	enum lb_verdict verdict = lb_steer(ctx, request, request->key.proto);

	if (verdict == LB_NOT_A_SERVICE)
		lb_forget(ctx);
	return verdict;
}

static __always_inline int lb_let_go(struct bpf_sock_addr *ctx)
{
	lb_forget(ctx);
	return LB_ALLOW;
}

/* What an AF_INET6 socket can reach by connect(): the kernel turns ::ffff:a.b.c.d into IPv4. */
static __always_inline __u32 lb_family6(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock_common *common = NULL;

	if (!sk)
		return LB_FAMILY_ANY;
	if (ctx->protocol == IPPROTO_TCP)
		common = (struct sock_common *)bpf_skc_to_tcp_sock(sk);
	else
		common = (struct sock_common *)bpf_skc_to_udp6_sock(sk);
	return common && BPF_CORE_READ_BITFIELD(common, skc_ipv6only) ? LB_FAMILY_V6
								      : LB_FAMILY_ANY;
}

SEC("cgroup/connect4") int lb_connect4(struct bpf_sock_addr *ctx)
{
	struct lb_request request = { .family = LB_FAMILY_V4 };
	enum lb_verdict verdict;

	lb_read4(ctx, ctx->protocol, &request.key);
	if (!lb_may_be_service(&request.key))
		return lb_let_go(ctx);
	request.near = lb_near4(ctx);
	verdict = lb_connect(ctx, &request);
	if (verdict == LB_STEERED)
		lb_write4(ctx, &request.backend->address);
	return verdict == LB_NO_BACKEND ? LB_REFUSE : LB_ALLOW;
}

SEC("cgroup/connect6") int lb_connect6(struct bpf_sock_addr *ctx)
{
	struct lb_request request = {};
	enum lb_verdict verdict;

	lb_read6(ctx, ctx->protocol, &request.key);
	if (!lb_may_be_service(&request.key))
		return lb_let_go(ctx);
	request.family = lb_family6(ctx);
	request.near = lb_near6(ctx, &request.family);
	verdict = lb_connect(ctx, &request);
	if (verdict == LB_STEERED)
		lb_write6(ctx, &request.backend->address);
	return verdict == LB_NO_BACKEND ? LB_REFUSE : LB_ALLOW;
}

/* ---- unconnected UDP ---- */

SEC("cgroup/sendmsg4") int lb_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct lb_request request = { .family = LB_FAMILY_V4 };
	enum lb_verdict verdict = LB_STEERED;

	lb_read4(ctx, IPPROTO_UDP, &request.key);
	if (!lb_may_be_service(&request.key))
		return LB_ALLOW;
	request.near = lb_near4(ctx);
	if (!lb_still_steered(ctx, &request))
		verdict = lb_steer(ctx, &request, IPPROTO_UDP);
	if (verdict == LB_STEERED)
		lb_write4(ctx, &request.backend->address);
	return verdict == LB_NO_BACKEND ? LB_REFUSE : LB_ALLOW;
}

/* IPv6 backends only: ENOTSUPP is what an IPv4-mapped address meets. */
SEC("cgroup/sendmsg6") int lb_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct lb_request request = { .family = LB_FAMILY_V6 };
	enum lb_verdict verdict = LB_STEERED;
	__u32 family; /* IPv6 backends whatever the source */

	lb_read6(ctx, IPPROTO_UDP, &request.key);
	if (!lb_may_be_service(&request.key))
		return LB_ALLOW;
	request.near = lb_near6(ctx, &family);
	if (!lb_still_steered(ctx, &request))
		verdict = lb_steer(ctx, &request, IPPROTO_UDP);
	if (verdict == LB_STEERED)
		lb_write6(ctx, &request.backend->address);
	return verdict == LB_NO_BACKEND ? LB_REFUSE : LB_ALLOW;
}

/* ---- the way back ---- */

static __always_inline int lb_show4(struct bpf_sock_addr *ctx, __u8 proto)
{
	struct lb_addr peer, service;

	lb_read4(ctx, proto, &peer);
	if (lb_reverse(ctx, &peer, &service))
		lb_write4(ctx, &service);
	return LB_ALLOW;
}

static __always_inline int lb_show6(struct bpf_sock_addr *ctx, __u8 proto)
{
	struct lb_addr peer, service;

	lb_read6(ctx, proto, &peer);
	if (lb_reverse(ctx, &peer, &service))
		lb_write6(ctx, &service);
	return LB_ALLOW;
}

SEC("cgroup/getpeername4") int lb_getpeername4(struct bpf_sock_addr *ctx)
{
	return lb_show4(ctx, ctx->protocol);
}

SEC("cgroup/getpeername6") int lb_getpeername6(struct bpf_sock_addr *ctx)
{
	return lb_show6(ctx, ctx->protocol);
}

SEC("cgroup/recvmsg4") int lb_recvmsg4(struct bpf_sock_addr *ctx)
{
	return lb_show4(ctx, IPPROTO_UDP);
}

SEC("cgroup/recvmsg6") int lb_recvmsg6(struct bpf_sock_addr *ctx)
{
	return lb_show6(ctx, IPPROTO_UDP);
}

/* ---- counting ---- */

/*
 * The tracepoints fire for every TCP socket of the machine. What is attached is a stub that lets foreign
 * sockets go after two compares or one bit test, and never changes: a tracepoint's link cannot be
 * updated in place, and two attached programs would count twice. Take-over is one store into the
 * program array.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(lb_state_stub, struct sock *sk, int old_state, int new_state)
{
	if ((new_state == TCP_CLOSE || new_state == TCP_SYN_SENT) && lb_mark_of(sk))
		bpf_tail_call(ctx, &state_program, 0);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(lb_state, struct sock *sk, int old_state, int new_state)
{
	lb_count_state(sk, old_state, new_state);
	return 0;
}

/* Fires on retransmissions only. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(lb_retransmit_stub, struct sock *sk)
{
	if (sk->__sk_common.skc_state == TCP_SYN_SENT && lb_mark_of(sk))
		bpf_tail_call(ctx, &retransmit_program, 0);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(lb_retransmit, struct sock *sk)
{
	lb_count_retransmit(sk);
	return 0;
}

/* ---- walks over sockets ---- */

static __always_inline void lb_write_socket(struct seq_file *seq, struct sock_common *sk, __u32 id,
					    __u32 generation, __u8 proto)
{
	struct lb_socket out = {};

	out.cookie = bpf_get_socket_cookie(sk);
	out.backend = id;
	out.generation = generation;
	for (__u32 i = 0; i < 4; i++) {
		out.local_ip[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		out.peer_ip[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
	}
	if (sk->skc_family == AF_INET) {
		out.local_ip[3] = sk->skc_rcv_saddr;
		out.peer_ip[3] = sk->skc_daddr;
	}
	out.local_port = bpf_htons(sk->skc_num);
	out.peer_port = sk->skc_dport;
	out.family = sk->skc_family;
	out.proto = proto;
	out.state = sk->skc_state;
	out.bound_device = (__u32)sk->skc_bound_dev_if;
	bpf_seq_write(seq, &out, sizeof(out));
}

/* Walks the TCP sockets of the reader's network namespace: recounts while an epoch is set, and writes
 * each steered socket. */
SEC("iter/tcp") int lb_walk_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct lb_control *knobs = lb_control();
	struct lb_counted counted;
	__u32 id, generation;
	struct tcp_sock *tcp;

	tcp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	if (!tcp || !knobs || !BPF_CORE_READ_BITFIELD(tcp, save_syn) ||
	    common->skc_state == TCP_CLOSE || common->skc_state == TCP_LISTEN ||
	    !lb_find_counted(tcp, &counted))
		return 0;
	if (knobs->recount_epoch) {
		lb_recount_visit((struct sock *)tcp, &counted, knobs->recount_epoch);
		return 0;
	}
	id = lb_blame(&counted, &generation);
	lb_write_socket(ctx->meta->seq, common, id, generation, IPPROTO_TCP);
	return 0;
}

/*
 * Writes the connected UDP sockets of the reader's network namespace that were steered and are still
 * connected to where they were. An iterator over the storages themselves (iter/bpf_sk_storage_map) would
 * see every namespace at once, but hardened kernels refuse it to root with EPERM.
 */
SEC("iter/udp") int lb_walk_udp(struct bpf_iter__udp *ctx)
{
	struct sock *sk = ctx->udp_sk;
	struct lb_udp_flows *flows;
	struct lb_backend *backend;
	struct lb_addr peer;

	if (!sk || sk->__sk_common.skc_state != TCP_ESTABLISHED || !lb_in_scope(&sk->__sk_common))
		return 0;
	flows = bpf_sk_storage_get(&udp_flows, sk, NULL, 0);
	if (!flows)
		return 0;
	lb_peer_of(&sk->__sk_common, &peer);
	peer.proto = IPPROTO_UDP;
	if (sk->__sk_common.skc_family == AF_INET) {
		peer.ip[0] = peer.ip[1] = 0;
		peer.ip[2] = bpf_htonl(0xffff);
		peer.ip[3] = sk->__sk_common.skc_daddr;
	}
	for (__u32 i = 0; i < LB_UDP_FLOWS; i++) {
		struct lb_flow flow = flows->flow[i];

		backend = flow.service.port ? lb_backend_at(flow.backend) : NULL;
		if (!backend || backend->generation != flow.generation ||
		    !lb_same_addr(&backend->address, &peer))
			continue;
		lb_write_socket(ctx->meta->seq, &sk->__sk_common, flow.backend, flow.generation,
				IPPROTO_UDP);
		return 0;
	}
	return 0;
}
