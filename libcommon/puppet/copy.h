/* SPDX-License-Identifier: MIT */
/* A copy-on-write copy of a live process, by a fork made in it; the copy never runs an instruction of the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/inject.h"
#include "inject/threads.h"
#include "puppet/birth.h"

/*
 * How it is done. All threads are stopped. One of them runs our code that clones a process sharing its memory,
 * which leaves the program's table of descriptors, takes a session of its own, forks the copy and ends; the thread
 * reaps it, and the copy belongs to init. Nobody waits for a child that nobody made. A program that is given orphans
 * itself (the first process of a pid namespace, PR_SET_CHILD_SUBREAPER) would be given the copy: it becomes its child
 * without a signal at its end, which wait(2) does not see without __WCLONE or __WALL, and is reaped there by
 * inject_copy_reap.
 * The copy stands in our code in a page of its own and has no way back: the control area is not given to children.
 * If this process dies at any moment the thread finds home by itself and the copy ends: first because nobody told it to
 * wait longer than a few seconds, later by PTRACE_O_EXITKILL.
 */
struct inject_copy {
	pid_t pid;             /* as this process sees it */
	bool child;            /* of the target, which has to reap it */
	struct region own;     /* where it stands: two pages that the target has no more */
	uint64_t pause_us;     /* from the first stop of a thread until the last one was let go */
	size_t threads_missed; /* slept uninterruptibly and went on meanwhile */
	struct inject_threads lingering;
	struct inject_registers *registers; /* of the target's threads at that moment */
	size_t threads;
};

/* Called back while all threads of the target stand still. */
struct inject_copy_still {
	void (*inspect)(void *context);
	void *context;
};

/*
 * Makes a copy of an opened target. `still` (NULL: nothing): it is called back, and the registers of all threads are
 * kept. The copy is stopped, traced by the calling thread, and killed by the kernel if the tracer ends. On success the
 * caller owns copy->registers, and calls inject_copy_linger until it returns 0. Returns 0, or -errno with `error`
 * filled: -ENOMEM (overcommit), -EAGAIN (a limit of processes), -EBUSY (frozen), -ENOSYS (no close_range(2),
 * Linux 5.9), -ETIMEDOUT (a thread does not stop, or nobody answers the fork event of a userfaultfd), or as
 * inject_begin.
 */
int inject_copy_make(struct inject *inject, struct inject_copy *copy, const struct inject_copy_still *still,
		     struct error *error);

/*
 * Lets the copy run to where it waits, and leaves it there without a tracer: stopped (state T), or asleep when it is
 * the target's child, which would be told of the stop. Once it is not stopped SIGTERM, SIGINT, SIGHUP and SIGQUIT end
 * it; no other signal changes anything. Returns 0, or -errno: it is gone (-ESRCH: also when its seccomp filter does not
 * let it wait) or still traced.
 */
int inject_copy_park(struct inject_copy *copy, const char *name);

/* Looks after threads of the target that did not stop in time. Returns how many are left. */
size_t inject_copy_linger(struct inject_copy *copy);

/* Frees what a copy remembers; the process stays. */
void inject_copy_free(struct inject_copy *copy);

/*
 * Reaps an ended copy that is the target's child (copy->child). `there`: its pid as the target sees it (last of NSpid
 * in /proc/PID/status). Returns 0, also when there is nothing to reap, or -errno with `error` filled.
 */
int inject_copy_reap(const struct target *target, pid_t there, struct error *error);

#define INJECT_COPY_PAGES BIRTH_PAGES /* of copy->own */

/* Whether a page holds the code in which a copy stands: copy->own begins with it. */
bool inject_copy_is_code(const unsigned char *page, size_t bytes);

/* Whether that code lies at an address of a target (its /proc/PID/mem): of a copy, or of a puppet. */
bool inject_copy_lies_at(int mem_fd, uint64_t address);
