/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The contract between the programs in the kernel and lbd: every struct that lies in a map, and what
 * each field means. The one header that both sides include; it includes only <linux/types.h>.
 *
 * Addresses and ports are in network byte order here and nowhere else in lbd. An IPv4 address is held
 * as ::ffff:a.b.c.d, so that one map serves both families, and because that is how the kernel keeps a
 * TCP socket's peer (sk_v6_daddr) for AF_INET sockets too.
 */
#ifndef LB_ABI_H
#define LB_ABI_H

#include <linux/types.h>

#ifdef __cplusplus
#define LB_STATIC_ASSERT(condition) static_assert(condition)
#else
#define LB_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/*
 * Raised with every change to a struct or to the meaning of a field or mark. Maps are pinned under
 * "v<LB_ABI_VERSION>_<n>", so programs never meet maps of another layout.
 */
#define LB_ABI_VERSION 1

/* An address of a service or of a backend: the key of the hash maps. */
struct lb_addr {
	__be32 ip[4];
	__be16 port;
	__u8 proto; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;   /* always 0: part of the hashed key */
};
LB_STATIC_ASSERT(sizeof(struct lb_addr) == 20);

/* Which backends a client's socket can reach. Each has a set of its own, all by one policy. */
enum lb_family {
	LB_FAMILY_V4 = 0, /* an AF_INET socket */
	LB_FAMILY_V6 =
		1, /* an IPV6_V6ONLY socket, or an unconnected UDP socket that sends to IPv6 */
	LB_FAMILY_ANY = 2, /* a dual-stack AF_INET6 socket */
	LB_FAMILIES = 3,
};

/*
 * One service. Written by lbd through mmap; each `set` is one aligned store, and so the atomic switch
 * from one backend set to the next: a hook reads it once and uses that copy.
 *   base:32   first slot
 *   count:16  number of slots; 0 = no usable backend, the client gets ECONNREFUSED
 *   policy:4  enum lb_policy
 *   lines:12  where slots repeat lines (round robin, hash): behind the slots each line is named once more,
 *             this many of them; 0: the slots are the lines
 */
struct lb_service {
	__u64 set[LB_FAMILIES];
	__u64 cursor;       /* round robin: next position, counted up by the hooks */
	struct lb_addr key; /* its identity, for lbd after a restart; port 0: the entry is free */
	__u32 balance; /* lbd's enum Balance, for lbd after a restart; the hooks read the sets */
	__u32 pad[2];
};
LB_STATIC_ASSERT(sizeof(struct lb_service) == 64);

#define LB_SET(base, count, policy) ((__u64)(base) | (__u64)(count) << 32 | (__u64)(policy) << 48)
#define LB_SET_BASE(set)            ((__u32)(set))
#define LB_SET_COUNT(set)           ((__u32)((set) >> 32) & 0xffff)
#define LB_SET_POLICY(set)          ((__u32)((set) >> 48) & 0xf)
#define LB_SET_LINES(set)           ((__u32)((set) >> 52))
#define LB_SET_WITH_LINES(set, n)   ((set) | (__u64)(n) << 52)
#define LB_SET_MAX_LINES            0xfff
#define LB_SET_SLOTS(set)           (LB_SET_COUNT(set) + LB_SET_LINES(set))
#define LB_SET_MAX_SLOTS            0xffff

enum lb_policy {
	LB_POLICY_RANDOM = 0,      /* weighted, by the slots' alias table */
	LB_POLICY_P2C = 1,         /* the less loaded of two weighted draws */
	LB_POLICY_LEAST = 2,       /* scan of all slots for the least connections per weight */
	LB_POLICY_ROUND_ROBIN = 3, /* slots hold the weighted sequence */
	LB_POLICY_HASH = 4, /* slots hold a Maglev table over client uid and network namespace */
};

/*
 * A slot: id:24 | alias:24 | threshold:16. A draw lands on a slot and keeps `id` with a chance of
 * threshold/65536, else takes `alias` (Walker's alias method: exact weights by one look-up). Policies
 * that do not draw by weight read `id` only. Mmapped arrays have a stride of 8 bytes anyway.
 */
#define LB_SLOT(id, alias, threshold)                                                              \
	((__u64)(id) | (__u64)(alias) << 24 | (__u64)(threshold) << 48)
#define LB_SLOT_ID(slot)        ((__u32)(slot)&0xffffff)
#define LB_SLOT_ALIAS(slot)     ((__u32)((slot) >> 24) & 0xffffff)
#define LB_SLOT_THRESHOLD(slot) ((__u32)((slot) >> 48))
#define LB_MAX_BACKEND_ID       0xffffff

/*
 * One backend of one service: the one cache line that a connection touches.
 *
 * An address that serves one service has one line, and `address_ids` points to it. When a second
 * service uses the same address, that service gets a line of its own (LB_BACKEND_MEMBER, `owner` is
 * the first line) and the sockets remember in `tcp_flows` which line they were steered to. The first
 * line then counts all connections of the address; its own share is the rest.
 *
 * Written by lbd before the id appears in a slot, except `opened` and `active` (by the programs, by
 * atomic adds), `cooldown` (by both) and `flags` and `weight` (by lbd, at any time).
 */
struct lb_backend {
	struct lb_addr address; /* proto is the service's; all zero: the line is free */
	__u16 weight; /* divided by the greatest common divisor of the service's weights; never 0 */
	__u16 flags;  /* LB_BACKEND_* */
	__u32 generation; /* of this id: raised each time the line is given to another backend */
	__u32 owner;  /* id of the line that `address_ids` points to; of itself when not a member */
	__u32 opened; /* how often a hook chose this line; wraps */
	__u32 active; /* TCP: connections of the address from SYN_SENT to CLOSE (TIME_WAIT is CLOSE) */
	struct lb_addr service; /* what getpeername() reports */
	__u32 cooldown; /* ejected until then: LB_COOLDOWN_*; 0: not ejected. An lbd without ejection leaves 0 */
};
LB_STATIC_ASSERT(sizeof(struct lb_backend) == 64);

/*
 * lb_backend.cooldown: ticks:30 | trial:1 | held:1. A tick is 2^22 ns (4.2 ms) of CLOCK_MONOTONIC, and
 * the 30 bits wrap; an end that lies further away than LB_COOLDOWN_TICKS is an old one, and passed.
 *
 * While it lasts each policy passes the line over, as far as lb_control.max_ejected allows. When it has
 * passed, lbd has looked first and put 0 here; where lbd is away, one connect is let through (trial) and
 * the rest wait for its result. A line that is held (black hole: one connect would hang) comes back only
 * by a look of lbd's that succeeds.
 */
#define LB_COOLDOWN_HELD                1
#define LB_COOLDOWN_TRIAL               2
#define LB_COOLDOWN_FLAGS               3
#define LB_TICK_SHIFT                   22
#define LB_COOLDOWN_TICKS               (1 << 14) /* 68 s */
#define LB_HELD_TICKS                   (1 << 15) /* added to what is left of a held line: it is let in last */
/* In which order ejected lines are let in, 0: takes connects. The id tells apart what ends in one tick. */
#define LB_EJECTED_RANK(ticks_left, id) ((ticks_left) ? (ticks_left) << 8 | ((id)&0xff) : 0u)
#define LB_TRIAL_TICKS                  360 /* 1.5 s: a black hole shows by the SYN sent again after 1 s */
#define LB_EJECTION_LONGEST             7 /* 1, 2, 4, 8, 16, 32, 60 s */

/* How long the n-th ejection in a row lasts, in ticks. */
#define LB_EJECTION_TICKS(n)            ((n) >= LB_EJECTION_LONGEST ? 14305u : 238u << ((n) > 1 ? (n)-1 : 0))

#define LB_BACKEND_MEMBER               1 /* another line owns the address */
#define LB_BACKEND_REMEMBER             2 /* connect notes line and service in the socket's storage */
#define LB_BACKEND_RECALL               4 /* on the owner: a socket's storage says which line it belongs to */
#define LB_BACKEND_IN_USE               8 /* takes new connections: unconnected UDP sockets may stay with it */
#define LB_BACKEND_LISTED                                                                          \
	16 /* for lbd after a restart: part of its service, with or without weight */
#define LB_BACKEND_DRAINED 32 /* for lbd, should its files be lost: an operator has taken it out */
#define LB_BACKEND_JUDGED                                                                          \
	64 /* written by an lbd that knows DRAINED: without it that means nothing */

#define LB_BACKEND_LOCAL 128 /* an address of this host: reached from a loopback source too */

/* Touched by failures and recounts only, hence apart from the line above. */
struct lb_backend_cold {
	__u32 refused;   /* sk_err was ECONNREFUSED */
	__u32 timed_out; /* sk_err was ETIMEDOUT */
	__u32 gave_up;   /* sk_err was 0: closed in SYN_SENT, or failed locally after SYN_SENT */
	__u32 other;     /* any other sk_err: unreachable and the like */
	__u32 syn_retransmits; /* first sign of a black hole */
	__u32 recounted;       /* what `active` is by the recount in progress */
	__u32 ejections; /* in a row: the next one lasts longer while it was not well for long between */
	__u32 back_since; /* tick at which the last ejection ended */
};
LB_STATIC_ASSERT(sizeof(struct lb_backend_cold) == 32);

/* Knobs that change while the programs run. One entry. */
struct lb_control {
	__u32 recount_epoch; /* lbd: not 0 while a recount is in progress, another one each time */
	__u32 max_ejected; /* lbd: 1 + the per cent of a service's lines that may be passed over; 0: 50 % */
	__u64 lost_events; /* programs: events that found the ring full */
};
LB_STATIC_ASSERT(sizeof(struct lb_control) == 16);

/* In a socket's storage: where it was steered to, and what it asked for. */
struct lb_flow {
	__u32 backend;
	__u32 generation;       /* of the backend; another one: the flow is void */
	struct lb_addr service; /* as the application wrote it */
};
LB_STATIC_ASSERT(sizeof(struct lb_flow) == 28);

/* UDP: one socket may talk to several services in turn (a resolver does). */
#define LB_UDP_FLOWS 4
struct lb_udp_flows {
	struct lb_flow flow[LB_UDP_FLOWS];
	__u16 next; /* the one to be replaced next */
	__u16 last; /* the one that was asked last */
};
LB_STATIC_ASSERT(sizeof(struct lb_udp_flows) == LB_UDP_FLOWS * 28 + 4);

/*
 * The mark in the socket itself (tcp_sock.save_syn, which has a meaning on listeners only, is settable
 * from connect hooks and readable in tracepoints; 2 bits wide, values above 2 are refused).
 */
#define LB_MARK_STEERED             1
#define LB_MARK_STEERED_V6_LOOPBACK 2 /* the application asked for ::1 */

/*
 * SO_PRIORITY of sockets that mean the very address that they name, also where it is a service: lbd's
 * own health probes. They are neither steered nor counted.
 */
#define LB_DIRECT_PRIORITY          0x6c60
/* Of [dataplane] own_cgroups. */
#define LB_OWN_CGROUPS_MAX          64

enum lb_event_kind {
	LB_EVENT_REFUSED = 1,
	LB_EVENT_TIMED_OUT = 2,
	LB_EVENT_GAVE_UP = 3,
	LB_EVENT_OTHER = 4,
	LB_EVENT_SYN_RETRANSMITTED = 5, /* the first one of a connect */
};

/* In the ring buffer: failures only, never one per connection. */
struct lb_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 backend; /* line id */
	__u32 generation;
	__u32 error; /* sk_err, 0 where there is none */
	__u8 kind;   /* enum lb_event_kind */
	__u8 plain; /* 1: nothing that a client chooses for its socket could have made it fail so */
	__u8 pad[2];
};
LB_STATIC_ASSERT(sizeof(struct lb_event) == 24);

/* What the socket iterators write: enough for SOCK_DESTROY to name the one socket. */
struct lb_socket {
	__u64 cookie;
	__u32 backend; /* line id */
	__u32 generation;
	__be32 local_ip[4];
	__be32 peer_ip[4];
	__be16 local_port;
	__be16 peer_port;
	__u16 family; /* AF_INET or AF_INET6 */
	__u8 proto;
	__u8 state;         /* TCP_* */
	__u32 bound_device; /* ifindex, 0 = any */
	__u32 pad;
};
LB_STATIC_ASSERT(sizeof(struct lb_socket) == 64);

/*
 * One bit per protocol and port: may a service be there? A look at it spares most sockets of the machine
 * the hash of an address.
 */
#define LB_PORT_WORDS 2048
#define LB_PORT_WORD(proto, port)                                                                  \
	(((proto) == 17 ? 1024u : 0u) + ((__u32)(port) >> 6)) /* IPPROTO_UDP */
#define LB_PORT_BIT(port) (1ULL << ((port)&63))

/* .rodata `lb_pin_folder`: how a second lbd learns whose programs it met. */
#define LB_PIN_FOLDER_MAX 128

#endif /* LB_ABI_H */
