/* SPDX-License-Identifier: MIT */
/* A clone of a live process: its memory as it was at one moment, in a stopped process to look at. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "clone/kept.h"
#include "proc/target.h"
#include "puppet/copy.h"
#include "report/error.h"

struct process_clone {
	struct target target; /* the clone */
	struct inject_copy copy;
	pid_t there;             /* its pid as the original sees it */
	uint64_t bytes;          /* mapped in it */
	uint64_t resident_bytes; /* shared with the original until one of them writes */
	struct kept_memory kept; /* with `for_core`: what the original keeps from its children */
	uint64_t left_out_bytes; /* of the original, and not kept: MADV_DONTFORK and MADV_WIPEONFORK of madvise(2) */
	uint64_t time_us;        /* from the beginning until the clone was there */
	pid_t guard;             /* see process_clone_guard; 0: none */
	int guard_fd;
};

#define PROCESS_CLONE_NONE ((struct process_clone){.target = TARGET_NONE, .guard_fd = -1})

/*
 * Clones a process. The clone is traced by the calling thread and dies with it, unless it is parked. `for_core`:
 * keeps the registers of all threads, and what a fork leaves out, while they stand still. Returns 0 or -errno with
 * `error` filled, as inject_open and inject_copy_make. On success: process_clone_close, which leaves the process alone,
 * or process_clone_remove before it.
 */
int process_clone_make(struct process_clone *clone, const struct target *original, bool for_core, struct error *error);

/* Finds out how large it is, and what of the original it lacks; which takes longer than the clone itself. */
void process_clone_measure(struct process_clone *clone, const struct target *original);

/*
 * Leaves it where it stays (inject_copy_park), untraced, so that a debugger can be attached. It is the first that the
 * kernel kills for want of memory. Returns 0 or -errno with `error` filled.
 */
int process_clone_park(struct process_clone *clone, const struct target *original, struct error *error);

/*
 * Starts a process that removes the clone if this one ends before process_clone_close or process_clone_remove, however
 * it ends. Returns 0 or -errno with `error` filled.
 */
int process_clone_guard(struct process_clone *clone, const struct target *original, struct error *error);

/* Kills it and sees that nothing of it is left. Returns 0 or -errno with `error` filled. */
int process_clone_remove(struct process_clone *clone, const struct target *original, struct error *error);

/* Forgets the clone, which stays, and ends its guard. */
void process_clone_close(struct process_clone *clone);

/*
 * Kills a clone that an earlier process made. `original`: the process that has to reap it, NULL for init. `there`: the
 * pid it has in the namespace of `original`. Returns 0 or -errno with `error` filled.
 */
int process_clone_kill(const struct target *clone, const struct target *original, pid_t there, struct error *error);
