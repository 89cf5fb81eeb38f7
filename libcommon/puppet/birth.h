/* SPDX-License-Identifier: MIT */
/* Processes that a stopped thread of a target makes, and that run our code alone. Internal to the room. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "inject/inject.h"

/* Fill in own.start (far_choose), shares and name. */
struct birth {
	struct region own; /* two pages of the target, in which it stands: code, then its data (struct arch_copy) */
	uint64_t shares;   /* CLONE_VM: the target's memory; 0: it has a copy of that */
	const char *name;
	bool child; /* of the target, which has to reap it: orphans are given to the target itself */
	pid_t pid;  /* as this process sees it */
};

#define BIRTH_PAGES 2

/* Maps and writes birth->own. A thread is stopped. Returns 0, or a negative errno with nothing mapped. */
int64_t birth_map(struct inject *inject, struct birth *birth);
void birth_unmap(struct inject *inject, const struct birth *birth);

/*
 * Sends the stopped thread through the code. Afterwards it stands as after any call, and birth->pid is stopped before
 * its first instruction, traced by the calling thread, and killed by the kernel if the tracer ends. Without a tracer it
 * ends a few seconds after it was let go. A thread that cannot run meanwhile is waited for when `shares` has CLONE_VM,
 * as in any call. Returns 0, or a negative errno: -EAGAIN (a limit of processes), -ENOMEM, -ENOSYS (no close_range(2),
 * Linux 5.9), -ETIMEDOUT, -ESRCH.
 */
int birth_run(struct inject *inject, struct birth *birth);

/*
 * Kills a process that the calling thread traces, and waits for its end: nobody else can reap it before, and its parent
 * may wait for that. Of one that is no more traced the end is not waited for. Not for one that is known to be gone.
 */
void birth_end(pid_t pid);

/* Sets ptrace(2) options on a stopped thread or process, and suspends its seccomp filters where we may. */
int birth_set_options(pid_t tid, long options);

/*
 * Reaps a child of the target that has ended. `there`: as the target sees it. A thread is stopped. Returns 0, also when
 * it is gone or lives yet, or a negative errno.
 */
int64_t birth_reap(struct inject *inject, pid_t there);

/* Resumes it until a stop of which `reached` says so; signals that come meanwhile are delivered. */
int birth_run_until(pid_t pid, int request, bool (*reached)(pid_t pid, int status), int *signal);

/*
 * For birth_run_until and PTRACE_SYSCALL: it comes to its wait, and has its own descriptors. Until then it has the
 * target's; to give those up takes as long as file systems let it (close(2)).
 */
bool birth_enters_wait(pid_t pid, int status);

/* For birth_run_until and PTRACE_CONT, after a SIGSTOP. */
bool birth_is_group_stop(pid_t pid, int status);
