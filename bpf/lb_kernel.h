/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The few kernel types that the programs read, with only the fields they read: libbpf finds the real
 * offsets on the running kernel (CO-RE). No generated vmlinux.h: it would tie the build to one host.
 */
#ifndef LB_KERNEL_H
#define LB_KERNEL_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "lb_abi.h"

#define AF_INET            2
#define AF_INET6           10
#define IPPROTO_TCP        6
#define IPPROTO_UDP        17
#define ECONNREFUSED       111
#define ETIMEDOUT          110
#define TCP_SAVE_SYN       27
#define LOOPBACK_IFINDEX   1

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED    1
#define TCP_SYN_SENT       2
#define TCP_CLOSE          7
#define TCP_LISTEN         10

/* include/net/sock.h: bind() named an address. */
#define SOCK_BINDADDR_LOCK 4

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr; /* valid for AF_INET sockets of UDP, where skc_v6_daddr is not set */
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u16 sk_protocol;
	__u8 sk_userlocks : 4;
};

struct ipv6_pinfo {
	void *opt;
	__u8 min_hopcount;
	__s16 hop_limit; /* -1: the route's */
};

struct inet_sock {
	void *inet_opt;
	__s16 uc_ttl; /* -1: the route's */
	__u8 min_ttl;
	__u8 tos;
	struct ipv6_pinfo *pinet6;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u8 save_syn : 2;
	__u32 total_retrans;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

#pragma clang attribute pop

/* Iterator contexts are arrays of 8-byte arguments, not structs of the kernel. */
struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	__u64 uid;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct sock *udp_sk; /* the kernel's struct udp_sock begins with it */
	__u64 uid;
	__u64 bucket;
};

/* The mark of a socket that may be none of TCP's: 0 when it is not steered. */
static __always_inline __u32 lb_mark_of(void *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp ? BPF_CORE_READ_BITFIELD(tcp, save_syn) : 0;
}

#endif /* LB_KERNEL_H */
