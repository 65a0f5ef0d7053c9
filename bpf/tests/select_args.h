/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What goes into a selection and what comes out, for both sides of the test. */
#ifndef LB_SELECT_ARGS_H
#define LB_SELECT_ARGS_H

#include <linux/types.h>

struct lb_select_args {
	__u64 set;
	__u32 random;
	__u32 hash;
	__u32 position; /* out of lb_select, in of lb_select_again */
	__u32 id;       /* out */
	__u32 tried_count;
	__u32 tried[8];
	__u32 cutoff; /* in of lb_select_again, out of lb_cutoff */
};

#endif
