/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The selection logic behind a syscall program: user space gives set and random number, and gets the id. */
#include "bpf/lb_select.h"
#include "bpf/tests/select_args.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("syscall") int lb_test_select(struct lb_select_args *args)
{
	__u32 zero = 0;
	struct lb_service *service = bpf_map_lookup_elem(&services, &zero);
	struct lb_choice choice = { .random = args->random, .hash = args->hash };

	if (!service)
		return -1;
	choice.cursor = &service->cursor;
	args->id = lb_select(args->set, &choice, &args->position);
	return 0;
}

SEC("syscall") int lb_test_select_again(struct lb_select_args *args)
{
	struct lb_tried tried = {};

	tried.count = args->tried_count;
	for (__u32 i = 0; i < LB_MAX_TRIES; i++)
		tried.id[i] = args->tried[i];
	args->id = lb_select_again(args->set, &tried, args->position, args->cutoff);
	return 0;
}

SEC("syscall") int lb_test_draw_again(struct lb_select_args *args)
{
	args->id = lb_draw_again(args->set, 0);
	return 0;
}

SEC("syscall") int lb_test_cutoff(struct lb_select_args *args)
{
	args->cutoff = lb_cutoff(args->set);
	return 0;
}

SEC("syscall") int lb_test_claim(struct lb_select_args *args)
{
	return lb_claim(args->id);
}

SEC("syscall") int lb_test_exponential(struct lb_select_args *args)
{
	args->id = lb_exponential(args->random);
	return 0;
}

SEC("syscall") int lb_test_hash(struct lb_select_args *args)
{
	args->id = lb_hash_client(args->random, args->set);
	return 0;
}
