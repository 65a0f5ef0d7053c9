/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Ejection: a backend that refuses is left alone for a while (lb_backend.cooldown). How it comes in, which
 * lines may be used meanwhile, and how it ends without lbd. docs/ARCHITECTURE.md, "Ejection".
 */
#ifndef LB_EJECT_H
#define LB_EJECT_H

#include "lb_maps.h"

static __always_inline __u32 lb_now(void)
{
	return (__u32)(bpf_ktime_get_ns() >> LB_TICK_SHIFT);
}

/* Ticks until a line takes connects again, 0: it does. The clock is read for ejected lines only. */
LB_VERIFIED_ALONE __u32 lb_ticks_left(__u32 cooldown)
{
	__s32 left;

	if (!cooldown)
		return 0;
	left = (__s32)((cooldown & ~LB_COOLDOWN_FLAGS) - (lb_now() << 2)) >> 2;
	if (left < 0 || left > LB_COOLDOWN_TICKS)
		left = 0;
	return cooldown & LB_COOLDOWN_HELD ? LB_HELD_TICKS + (__u32)left : (__u32)left;
}

static __always_inline __u32 lb_cooldown_of(const struct lb_backend *backend)
{
	return *(volatile const __u32 *)&backend->cooldown;
}

/* In a cutoff: only lines on this host, for a client whose source address or device does not leave it. */
#define LB_NEAR         (1u << 31)
#define LB_RANK(cutoff) ((cutoff) & ~LB_NEAR)

static __always_inline int lb_is_near(const struct lb_backend *backend)
{
	const __be32 *ip = backend->address.ip;

	if (backend->flags & LB_BACKEND_LOCAL)
		return 1;
	if (ip[0] | ip[1])
		return 0;
	if (ip[2] == bpf_htonl(0xffff))
		return (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !ip[2] && ip[3] == bpf_htonl(1);
}

/* `cutoff`: lines of no higher rank than that are used although they are ejected. */
static __always_inline int lb_is_usable(const struct lb_backend *backend, __u32 id, __u32 cutoff)
{
	__u32 cooldown = lb_cooldown_of(backend);

	if (cutoff & LB_NEAR && !lb_is_near(backend))
		return 0;
	return !cooldown || LB_EJECTED_RANK(lb_ticks_left(cooldown), id) <= LB_RANK(cutoff);
}

/*
 * A 0 that the verifier takes for any number, made from a word that it does not know. Linux 6.1 walks
 * the function of a bpf_loop once, with the values from before the loop, and removes each branch that
 * these rule out, for all rounds. What such a function compares must therefore start unknown.
 */
static __always_inline __u64 lb_unknown_zero(__u64 unknown)
{
	asm volatile("%0 ^= %0" : "+r"(unknown));
	return unknown;
}

/* ---- how many may be passed over ---- */

/* Of a service with more lines than that the first ones stand for all. */
#define LB_SURVEYED 256

struct lb_survey {
	__u32 base;
	__u32 lines;
	__u32 cutoff;
	__u32 usable; /* out */
};

static long lb_survey_step(__u32 i, struct lb_survey *survey)
{
	__u32 id = LB_SLOT_ID(lb_slot_at(survey->base + i));
	struct lb_backend *backend = lb_backend_at(id);

	if (backend && lb_is_usable(backend, id, survey->cutoff))
		survey->usable++;
	return 0;
}

struct lb_cut {
	struct lb_survey survey;
	__u64 unknown_zero;
	__u32 needed;
	__u32 low, high; /* the cutoff lies between, both included */
};

static __always_inline int lb_is_enough(struct lb_cut *cut, __u32 cutoff)
{
	cut->survey.cutoff = cutoff;
	cut->survey.usable = (__u32)cut->unknown_zero;
	bpf_loop(cut->survey.lines, lb_survey_step, &cut->survey, 0);
	return cut->survey.usable >= cut->needed;
}

static long lb_cut_step(__u32 i __attribute__((unused)), struct lb_cut *cut)
{
	__u32 middle = (cut->low + cut->high) >> 1;

	if (lb_is_enough(cut, middle))
		cut->high = middle;
	else
		cut->low = middle + 1;
	return cut->low >= cut->high;
}

static __always_inline __u32 lb_max_ejected(void)
{
	struct lb_control *knobs = lb_control();

	return knobs && knobs->max_ejected ? knobs->max_ejected - 1 : 50;
}

/*
 * At most max_ejected per cent of the lines are passed over, and never all: 0 while no more are ejected,
 * else the rank up to which lines are used all the same, so that those whose end is nearest are.
 */
LB_VERIFIED_ALONE __u32 lb_cutoff(__u64 set)
{
	__u32 listed = LB_SET_LINES(set), spared;
	struct lb_cut cut = {
		.survey = { .base = LB_SET_BASE(set) + (listed ? LB_SET_COUNT(set) : 0),
			    .lines = listed ? listed : LB_SET_COUNT(set) },
		.unknown_zero = lb_unknown_zero(set),
		.high = LB_EJECTED_RANK(LB_HELD_TICKS + LB_COOLDOWN_TICKS, 0xff),
	};

	if (cut.survey.lines > LB_SURVEYED)
		cut.survey.lines = LB_SURVEYED;
	spared = cut.survey.lines * lb_max_ejected() / 100;
	if (spared >= cut.survey.lines)
		spared = cut.survey.lines - 1;
	cut.needed = cut.survey.lines - spared;
	if (lb_is_enough(&cut, (__u32)cut.unknown_zero))
		return 0;
	cut.low = 1 + (__u32)cut.unknown_zero;
	cut.high += (__u32)cut.unknown_zero;
	bpf_loop(25, lb_cut_step, &cut, 0);
	return cut.high;
}

/*
 * May this connect go to the line? When the ejection has passed, the first one tries for all others; has
 * its time passed as well without a failure, the line is well.
 */
LB_VERIFIED_ALONE int lb_claim(__u32 id)
{
	struct lb_backend *backend = lb_backend_at(id);
	__u32 cooldown = backend ? lb_cooldown_of(backend) : 0, until;
	struct lb_backend_cold *line;

	if (!backend || !cooldown || lb_ticks_left(cooldown))
		return 1;
	if (!(cooldown & LB_COOLDOWN_TRIAL)) {
		until = (lb_now() + LB_TRIAL_TICKS) << 2 | LB_COOLDOWN_TRIAL;
		return __sync_val_compare_and_swap(&backend->cooldown, cooldown, until) == cooldown;
	}
	if (__sync_val_compare_and_swap(&backend->cooldown, cooldown, 0) != cooldown)
		return 1;
	line = bpf_map_lookup_elem(&cold, &id);
	if (line)
		line->back_since = lb_now();
	return 1;
}

/* ---- a connect was refused ---- */

/* An ejection in a row: it was not well for as long as the last one lasted, and half of that again. */
static __always_inline __u32 lb_next_ejection(const struct lb_backend_cold *line, __u32 now)
{
	__u32 before = line->ejections, lasted = LB_EJECTION_TICKS(before);

	if (!before || now - line->back_since > lasted + lasted / 2)
		return 1;
	return before < LB_EJECTION_LONGEST ? before + 1 : LB_EJECTION_LONGEST;
}

/*
 * The backend has refused: it is left alone for a while. What a client can make fail by itself (`plain` is
 * 0) is a hint, which lbd follows up; it only ends a trial. Refusals of connects that were under way when
 * the line was ejected change nothing.
 */
static __always_inline void lb_eject(struct lb_backend *backend, struct lb_backend_cold *line,
				     int plain)
{
	__u32 cooldown = lb_cooldown_of(backend), now = lb_now(), times;
	int trial = (cooldown & LB_COOLDOWN_TRIAL) != 0;

	if ((!trial && (!plain || lb_ticks_left(cooldown))) || !lb_max_ejected())
		return;
	times = line->ejections;
	if (!trial)
		times = lb_next_ejection(line, now);
	else if (plain && times < LB_EJECTION_LONGEST)
		times++;
	if (__sync_val_compare_and_swap(&backend->cooldown, cooldown,
					(now + LB_EJECTION_TICKS(times)) << 2) == cooldown)
		line->ejections = times;
}

#endif /* LB_EJECT_H */
