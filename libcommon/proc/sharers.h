/* SPDX-License-Identifier: MIT */
/* Processes that have the memory of a target for their own without being threads of it: clone(2), CLONE_VM, vfork(2).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/target.h"

/* All zeros knows nothing. */
struct sharers {
	pid_t *pids;
	size_t count, capacity;
	pid_t newest;     /* the last number that the kernel had given to anybody */
	uint64_t full_us; /* when all were inspected */
};

/*
 * Finds them. All processes are inspected once a second, between that those that are new: a process never comes to
 * share memory after it has begun. Those that begin meanwhile may be missed. Without kcmp(2), or the right to trace
 * both, there are none. Returns 0 or -ENOMEM. Source: kernel/kcmp.c, KCMP_VM.
 */
int sharers_inspect(struct sharers *sharers, const struct target *target);
void sharers_free(struct sharers *sharers);
