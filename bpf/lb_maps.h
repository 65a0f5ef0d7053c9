/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * All maps. The order in which lbd writes them is what makes a change atomic for a connecting client:
 *
 *   new backend:  address_ids[address] and backends[id], then the slots, then services[index].set
 *   new service:  ... and service_ids[key] last
 *   gone backend: services[index].set without it, a grace period, then wait for active == 0, and only
 *                 then address_ids[address] and backends[id]
 *   gone service: service_ids[key] first
 *
 * A key of service_ids is never updated in place: a reader can see the value of another key then,
 * because the kernel recycles the element (measured on 6.18). Hence key -> index -> mmapped array.
 * The sizes below are placeholders; lbd sets them from its configuration before loading.
 */
#ifndef LB_MAPS_H
#define LB_MAPS_H

#include "lb_kernel.h"

/* A global function: the verifier walks it once, and not again for each way that leads to it. */
#define LB_VERIFIED_ALONE __attribute__((noinline))

#define LB_MAPPED_ARRAY(name, type_)                                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, type_);                                                              \
	} name SEC(".maps")

/* Preallocated although only lbd writes: an update must not fail for want of memory. */
#define LB_ADDRESS_MAP(name)                                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, 1);                                                            \
		__type(key, struct lb_addr);                                                       \
		__type(value, __u32);                                                              \
	} name SEC(".maps")

#define LB_SOCKET_STORAGE(name, type_)                                                             \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_SK_STORAGE);                                             \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__type(key, int);                                                                  \
		__type(value, type_);                                                              \
	} name SEC(".maps")

#define LB_PROGRAM_ARRAY(name)                                                                     \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                             \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, __u32);                                                              \
	} name SEC(".maps")

LB_ADDRESS_MAP(service_ids); /* where a client connects to -> index into services */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LB_PORT_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} service_ports
	SEC(".maps"); /* LB_PORT_WORD; a bit is set before the key, and goes after the last one */
LB_MAPPED_ARRAY(services, struct lb_service);
LB_MAPPED_ARRAY(slots, __u64);
LB_MAPPED_ARRAY(backends, struct lb_backend);  /* id 0 is never a backend */
LB_MAPPED_ARRAY(cold, struct lb_backend_cold); /* same ids */
LB_ADDRESS_MAP(address_ids);                   /* a backend's address -> the line that counts it */

LB_MAPPED_ARRAY(control, struct lb_control);
LB_SOCKET_STORAGE(tcp_flows, struct lb_flow); /* only for lines with LB_BACKEND_REMEMBER */
LB_SOCKET_STORAGE(udp_flows, struct lb_udp_flows);
LB_SOCKET_STORAGE(recount_marks, __u64); /* only during a recount */

/* One array per tracepoint: the kernel refuses one array for programs of different attach types. */
LB_PROGRAM_ARRAY(state_program);
LB_PROGRAM_ARRAY(retransmit_program);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/*
 * cgroups of lbds that have no privilege to set LB_DIRECT_PRIORITY: what they dial is what they mean.
 * Looked up for services only, so that it costs other connects nothing.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LB_OWN_CGROUPS_MAX);
	__type(key, __u64);   /* cgroup id */
	__type(value, __u32); /* 1 */
} own_cgroups SEC(".maps");

/* Set by lbd between open and load. */
const volatile __u64 lb_netns_cookie = 0; /* scope = "host": the one namespace to serve; 0 = all */
const volatile char lb_pin_folder[LB_PIN_FOLDER_MAX] = {};

static __always_inline struct lb_backend *lb_backend_at(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

static __always_inline __u64 lb_slot_at(__u32 index)
{
	__u64 *slot = bpf_map_lookup_elem(&slots, &index);

	return slot ? *slot : 0;
}

static __always_inline struct lb_control *lb_control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

#endif /* LB_MAPS_H */
