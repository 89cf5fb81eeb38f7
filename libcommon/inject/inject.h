/* SPDX-License-Identifier: MIT */
/* Running system calls inside a live process, on one of its own threads, without a trace. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "proc/target.h"
#include "report/error.h"

/*
 * How it is done. One thread is seized (PTRACE_SEIZE, PTRACE_INTERRUPT), its registers are kept, and it is sent through
 * a trampoline in a small control area that the first injection maps into the target. Behind the trampoline's system
 * call instruction lies code that puts all registers and the signal mask back from a frame in the same area: if this
 * process dies at any moment after the thread was set on the trampoline, the kernel detaches and the thread finds its
 * own way back. Single-stepping would not allow that (a stale trap flag kills the process). A live tracer never lets
 * the thread get that far: it leaves through a fresh PTRACE_INTERRUPT stop with the first stop's registers, so that the
 * kernel's own restart logic runs.
 */

#define INJECT_SCRATCH   65536 /* bytes of scratch memory in the target for arguments and results */
#define INJECT_LINGERING 8

/*
 * One target. Fill in by inject_open. Not thread safe: one user at a time, any thread (begin and end on the same one).
 */
struct inject {
	const struct target *target; /* borrowed */
	int mem_fd;                  /* /proc/PID/mem, read-write */
	int maps_fd;                 /* /proc/PID/maps */
	uint64_t gadget;             /* a system call instruction that the target has anyway */
	uint64_t bootstrap;          /* what stands for the control area while there is none; 0: nothing */
	struct region area;          /* the control area in the target; empty before it is mapped */
	uint64_t scratch;            /* address of INJECT_SCRATCH bytes, while open */
	unsigned int frame;          /* which frame the next stop uses */
	uint64_t home;               /* of a puppet: the code to which it goes, wherever it was; 0: a thread as any */

	pid_t tid;           /* the thread that is stopped now, 0 for none */
	pid_t favourite;     /* the thread that served last time */
	bool frozen;         /* its threads did not run, because of their cgroup */
	bool cannot_suspend; /* seccomp filters: what has one is left alone */
	bool shares;         /* the thread seems to have no processor of its own */
	struct inject_stop *stop;

	/*
	 * Seized, asked to stop, did not in time; let go as soon as they do, by our thread that seized them: no
	 * other one may (ptrace(2)).
	 */
	struct {
		pid_t tid, tracer;
	} lingering[INJECT_LINGERING];
	uint64_t stops;      /* how often a thread was stopped */
	uint64_t longest_us; /* the longest time a thread was kept */
};

#define INJECT_NONE ((struct inject){.mem_fd = -1, .maps_fd = -1})

/*
 * Prepares a target: finds a system call instruction, maps the control area. The target must outlive the injector.
 * Returns 0 or a negative errno with `error` filled: -EPERM (ptrace not permitted, traced already, seccomp cannot be
 * suspended), -ESRCH, -ETIMEDOUT (no thread could be stopped), -EINVAL (another architecture), -ENOMEM (the target
 * cannot map more).
 */
int inject_open(struct inject *inject, const struct target *target, struct error *error);

/*
 * Prepares a target whose control area is there already: an earlier process mapped it at `area` (a record of that is
 * not trusted: it is inspected). An empty one: there is none, and inject_renew makes one. Stops no thread. Returns 0,
 * or as inject_open; -ENOENT when the area is not what it was.
 */
int inject_rejoin(struct inject *inject, const struct target *target, struct region area, struct error *error);

/*
 * Prepares another process that shares the memory of an opened target, and with it the control area. Stops no thread,
 * and opens nothing. Returns 0, or -errno with `error` filled.
 */
int inject_share(struct inject *inject, const struct target *sharer, const struct inject *of, struct error *error);

/*
 * After -EADDRINUSE of inject_begin: another control area in place of the one that the program has mapped over, which
 * is left as it is. Returns 0, or as inject_open; there is none then.
 */
int inject_renew(struct inject *inject, struct error *error);

/* In a child of the process that used it: what the parent was in the middle of is the parent's affair. */
void inject_reset(struct inject *inject);

/*
 * Unmaps the control area (when the target still lives) and frees everything. Returns 0 or -errno: the area could not
 * be removed.
 */
int inject_close(struct inject *inject);

/* Forgets the target without touching it. */
void inject_abandon(struct inject *inject);

/*
 * Stops one thread for injection. Returns 0, -EADDRINUSE when the program has mapped something over the control area
 * (no thread is sent there), or as inject_open. After 0, inject_end must follow soon: a thread of the program
 * stands still.
 */
int inject_begin(struct inject *inject, struct error *error);

/* The same with this very thread. -EAGAIN: it cannot be taken just now. */
int inject_begin_on(struct inject *inject, pid_t tid, struct error *error);

/* The processor on which the thread that served last ran last, or -1. */
int inject_processor(const struct inject *inject);

/* Lets the thread go as it was. Returns 0, or -ESRCH when it died meanwhile. */
int inject_end(struct inject *inject);

/*
 * Runs one system call on the stopped thread. Returns what it returned (a negative errno for failure), or -ESRCH when
 * the thread is gone, -EADDRINUSE when the trampoline is.
 */
int64_t inject_call(struct inject *inject, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		    uint64_t a5);

/* Whether a call that returns an address has failed. */
static inline bool inject_failed(int64_t result)
{
	return result < 0 && result > -4096;
}

/*
 * The same in two halves. After inject_enter the thread stands in the kernel at the entry of the call; nothing it may
 * still need from user memory (rseq, a swapped stack) can delay inject_finish, which runs the call itself and returns
 * its result. Returns 0 or -errno.
 */
int inject_enter(struct inject *inject, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		 uint64_t a5);
int64_t inject_finish(struct inject *inject);

/* After inject_enter, instead of inject_finish: the call is not made. Returns 0 or -ESRCH. */
int inject_cancel(struct inject *inject);

/* For how long the thread has been kept, in microseconds. */
uint64_t inject_held_us(const struct inject *inject);

/*
 * Reads or writes target memory through /proc/PID/mem. Returns 0 or -errno (-EIO: not mapped). May fault in the target:
 * never call it from fault service.
 */
int inject_read(struct inject *inject, uint64_t address, void *to, size_t bytes);
int inject_write(struct inject *inject, uint64_t address, const void *from, size_t bytes);

/* As inject_read, by a descriptor of /proc/PID/mem alone. */
int inject_peek(int mem_fd, uint64_t address, void *to, size_t bytes);

/*
 * Looks once after threads that did not stop in time, and lets go those that have stopped since. Call it now and then
 * while idle, on each thread that begins injections. Returns how many are left for it to let go.
 */
int inject_reap(struct inject *inject);

/*
 * The stopped thread's rseq area, and the pages that hold it: [start, end) to leave where they are while it is stopped;
 * empty when it has none.
 */
struct region inject_rseq(const struct inject *inject);
struct region inject_rseq_pages(const struct inject *inject);

#define inject_call1(i, n, a)       inject_call(i, n, a, 0, 0, 0, 0, 0)
#define inject_call3(i, n, a, b, c) inject_call(i, n, a, b, c, 0, 0, 0)
