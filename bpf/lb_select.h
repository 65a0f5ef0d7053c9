/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which backend: functions of a set word, a random number and the maps. No socket, no context, so that
 * SEC("syscall") programs can test them.
 */
#ifndef LB_SELECT_H
#define LB_SELECT_H

#include "lb_eject.h"

/* How often a connect looks for a listening local backend; covers sets of up to 8 exhaustively. */
#define LB_MAX_TRIES 8

struct lb_tried {
	__u32 count;
	__u32 id[LB_MAX_TRIES];
};

/*
 * Without branches: the verifier would walk both sides of each. Unused entries are 0, which is no id. The
 * barrier keeps the compiler from turning the arithmetic into a comparison again.
 */
static __always_inline int lb_was_tried(const struct lb_tried *tried, __u32 id)
{
	__u32 all_differ = 1, difference;

	for (__u32 i = 0; i < LB_MAX_TRIES; i++) {
		difference = tried->id[i] ^ id;
		asm volatile("" : "+r"(difference));
		all_differ &= (difference | -difference) >> 31;
	}
	return !all_differ;
}

/* Connections of the line's address: what least-connections compares, also for a shared address. */
static __always_inline __u32 lb_load_of(const struct lb_backend *backend)
{
	const struct lb_backend *owner;
	__u32 active = backend->active;

	if (backend->flags & LB_BACKEND_MEMBER) {
		owner = lb_backend_at(backend->owner);
		active = owner ? owner->active : active;
	}
	return (__s32)active < 0 ? 0 : active; /* below 0 reads as 0; lbd recounts */
}

/* `by` when u is below 1 << bit, else 0, for u below 1 << 31; without a branch. */
static __always_inline __u32 lb_shift_if_below(__u32 u, __u32 bit, __u32 by)
{
	__u32 difference = u - (1u << bit);

	asm volatile("" : "+r"(difference));
	return (difference >> 31) * by;
}

/*
 * -log2(u / 65536) * 4096 for u in 1..65535, by its highest bit and a line between powers of two. The
 * least of several such values, each divided by a weight, falls on each backend in proportion to its
 * weight: that is how idle backends share.
 */
static __always_inline __u32 lb_exponential(__u32 u)
{
	__u32 halvings = 1, shift;

	u |= 1;
	shift = lb_shift_if_below(u, 8, 8);
	u <<= shift;
	halvings += shift;
	shift = lb_shift_if_below(u, 12, 4);
	u <<= shift;
	halvings += shift;
	shift = lb_shift_if_below(u, 14, 2);
	u <<= shift;
	halvings += shift;
	shift = lb_shift_if_below(u, 15, 1);
	u <<= shift;
	halvings += shift;
	return (halvings << 12) - ((u & 0x7fff) >> 3);
}

struct lb_scan {
	__u64 least;
	__u32 base;
	__u32 random;
	__u32 id;               /* 0 until one is found */
	__u32 cutoff;           /* see lb_is_usable() */
	__u32 ejected;          /* out: how many were passed over */
	struct lb_tried *tried; /* NULL in the first pass */
};

/*
 * The score is the number of connections, then chance: a tie is broken by chance, so that idle backends
 * share, and never by position.
 */
static __always_inline __u64 lb_score(const struct lb_backend *backend, __u32 random, int blind)
{
	__u64 load = blind ? 0 : (__u64)lb_load_of(backend) << 17;
	__u32 weight = backend->weight;

	if (weight > 1)
		return (load + lb_exponential(random >> 16)) / weight;
	/* Equal weights are all 1, and so is the least one of unequal weights: same scale as above. */
	return load + lb_exponential(random >> 16);
}

static long lb_scan_step(__u32 i, struct lb_scan *scan)
{
	__u32 id = LB_SLOT_ID(lb_slot_at(scan->base + i));
	struct lb_backend *backend = lb_backend_at(id);
	__u64 score;

	if (!backend || (scan->tried && lb_was_tried(scan->tried, id)))
		return 0;
	if (!lb_is_usable(backend, id, scan->cutoff)) {
		scan->ejected++;
		return 0;
	}
	/* Among lines that are let in though they fail, the least loaded is the one that fails most. */
	score = lb_score(backend, (scan->random ^ i * 0x9e3779b1) * 0x85ebca6b,
			 LB_RANK(scan->cutoff) != 0);
	if (score < scan->least) {
		scan->least = score;
		scan->id = id;
	}
	return 0;
}

static __always_inline __u32 lb_scan_least(__u64 set, __u32 random, struct lb_tried *tried,
					   __u32 cutoff, __u32 *ejected)
{
	struct lb_scan scan = {
		.least = ~lb_unknown_zero(set), /* above every score */
		.base = LB_SET_BASE(set),
		.random = random,
		.tried = tried,
		.cutoff = cutoff,
		.ejected = (__u32)lb_unknown_zero(set),
	};

	bpf_loop(LB_SET_COUNT(set), lb_scan_step, &scan, 0);
	*ejected = scan.ejected;
	return scan.id;
}

/* A weighted draw: the upper half of random * count is the slot, the lower half decides its alias. */
static __always_inline __u32 lb_draw(__u64 set, __u32 random)
{
	__u64 position = (__u64)random * LB_SET_COUNT(set);
	__u64 slot = lb_slot_at(LB_SET_BASE(set) + (__u32)(position >> 32));

	return ((__u32)position >> 16) < LB_SLOT_THRESHOLD(slot) ? LB_SLOT_ID(slot)
								 : LB_SLOT_ALIAS(slot);
}

static __always_inline __u32 lb_less_loaded(__u32 one, __u32 other)
{
	struct lb_backend *a = lb_backend_at(one), *b = lb_backend_at(other);

	if (!a || !b || b->cooldown)
		return one;
	if (a->cooldown)
		return other;
	return (__u64)(lb_load_of(b) + 1) * a->weight < (__u64)(lb_load_of(a) + 1) * b->weight
		       ? other
		       : one;
}

struct lb_choice {
	__u32 random;  /* a fresh random number */
	__u32 hash;    /* of the client, for LB_POLICY_HASH */
	__u64 *cursor; /* of the service, for LB_POLICY_ROUND_ROBIN */
	__u32 ejected; /* out: how many lines were passed over; LB_POLICY_LEAST only */
};

/* The first choice; 0 when the set is empty. Where in the slots it lay is left in *position. */
static __always_inline __u32 lb_select(__u64 set, struct lb_choice *choice, __u32 *position)
{
	__u32 count = LB_SET_COUNT(set);

	*position = ((__u64)choice->random * count) >> 32;
	if (!count)
		return 0;
	switch (LB_SET_POLICY(set)) {
	case LB_POLICY_LEAST:
		return lb_scan_least(set, choice->random, NULL, 0, &choice->ejected);
	case LB_POLICY_P2C:
		return lb_less_loaded(lb_draw(set, choice->random),
				      lb_draw(set, bpf_get_prandom_u32()));
	case LB_POLICY_ROUND_ROBIN:
		*position = __sync_fetch_and_add(choice->cursor, 1) % count;
		return LB_SLOT_ID(lb_slot_at(LB_SET_BASE(set) + *position));
	case LB_POLICY_HASH:
		*position = ((__u64)choice->hash * count) >> 32;
		return LB_SLOT_ID(lb_slot_at(LB_SET_BASE(set) + *position));
	default:
		return lb_draw(set, choice->random);
	}
}

struct lb_walk {
	__u32 base, count, position, cutoff;
	__u32 id; /* 0 until one is found */
	struct lb_tried *tried;
};

static long lb_walk_step(__u32 i, struct lb_walk *walk)
{
	__u32 at = walk->position + 1 + i, id;
	struct lb_backend *backend;

	if (at >= walk->count)
		at -= walk->count;
	id = LB_SLOT_ID(lb_slot_at(walk->base + at));
	backend = id && !lb_was_tried(walk->tried, id) ? lb_backend_at(id) : NULL;
	if (!backend || !lb_is_usable(backend, id, walk->cutoff))
		return 0;
	walk->id = id;
	return 1;
}

/*
 * Another backend than those tried, 0 when there is none. Least-connections scans again; the others walk
 * on from where the first choice lay, which keeps a client's hash stable.
 */
LB_VERIFIED_ALONE __u32 lb_select_again(__u64 set, struct lb_tried *tried, __u32 position,
					__u32 cutoff)
{
	struct lb_walk walk = {
		.base = LB_SET_BASE(set),
		.count =
			LB_SET_SLOTS(set), /* a line of little weight may be in none but the last */
		.position = position,
		.cutoff = cutoff,
		.tried = tried,
	};
	__u32 ejected;

	if (!tried)
		return 0;
	if (LB_SET_POLICY(set) == LB_POLICY_LEAST)
		return lb_scan_least(set, bpf_get_prandom_u32(), tried, cutoff, &ejected);
	bpf_loop(walk.count, lb_walk_step, &walk, 0);
	return walk.id;
}

/*
 * A draw like the first one, so that what an unusable line would have got falls on all others by their
 * weights, and not on its neighbour. 0 for policies that need none.
 */
LB_VERIFIED_ALONE __u32 lb_draw_again(__u64 set, __u32 at)
{
	struct lb_service *service = bpf_map_lookup_elem(&services, &at);

	if (!service || !LB_SET_COUNT(set))
		return 0;
	switch (LB_SET_POLICY(set)) {
	case LB_POLICY_RANDOM:
		return lb_draw(set, bpf_get_prandom_u32());
	case LB_POLICY_P2C:
		return lb_less_loaded(lb_draw(set, bpf_get_prandom_u32()),
				      lb_draw(set, bpf_get_prandom_u32()));
	case LB_POLICY_ROUND_ROBIN:
		return LB_SLOT_ID(
			lb_slot_at(LB_SET_BASE(set) +
				   __sync_fetch_and_add(&service->cursor, 1) % LB_SET_COUNT(set)));
	default:
		return 0;
	}
}

/* Murmur3's finaliser: every input bit reaches every output bit. */
static __always_inline __u32 lb_hash_client(__u32 uid, __u64 netns_cookie)
{
	__u64 h = netns_cookie * 0x9e3779b97f4a7c15ULL ^ uid;

	h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return (__u32)(h >> 32);
}

#endif /* LB_SELECT_H */
