/* SPDX-License-Identifier: MIT */
/*
 * Signs of life of a worker, in memory that it shares with its supervisor. Internal to the room.
 *
 * A worker is hung when one of its threads that serve faults works at one and the same message, or its main thread at
 * one and the same round, for as long as PULSE_PATIENCE inspections of the supervisor, which are a second apart. They
 * are counted, not time: a machine that sleeps, or does not let the supervisor run, is not held against the worker.
 * While one of its threads could run, and is not let, all have ten times as long, and so has a thread that runs; so has
 * whatever comes before the first round, where the worker before is made good. What waits for the target or for a disk,
 * a swap-out most of all, is in other threads: all that is looked at there is whether the request that keeps others
 * waiting comes on, and it may stand four times as long.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PULSE_PATIENCE     30
#define PULSE_PATIENCE_MAX 960 /* after many workers, one after the other, that were hung */
#define PULSE_STOPPED      10  /* inspections of a worker that is stopped (SIGSTOP) */
#define PULSE_JOB          9   /* whichever thread has the lock of changing requests */
#define PULSE_THREADS      10  /* the main thread, FAULT_THREADS_MAX, and the one that has `job` */
#define PULSE_INSPECT_MS   1000

/* One thread. `count` changes with each piece of work, and is even while there is none. */
struct pulse_thread {
	_Atomic uint32_t tid, count;
};

struct pulse {
	struct pulse_thread threads[PULSE_THREADS];
};

/* Shared with all that are forked; zeroed. NULL when there is no memory. */
struct pulse *pulse_new(void);

/* Of the thread itself: it has work now, has again, has come to the next piece of it, has none any more. */
void pulse_begin(struct pulse_thread *thread);
void pulse_resume(struct pulse_thread *thread);
void pulse_next(struct pulse_thread *thread);
void pulse_end(struct pulse_thread *thread);

/* What the supervisor remembers of its inspections. All zeros before the first. */
struct pulse_watch {
	uint64_t inspected_us;
	unsigned int patience; /* 0: PULSE_PATIENCE */
	unsigned int stopped, healthy;
	struct {
		uint32_t count;
		unsigned int inspections;
	} threads[PULSE_THREADS];
};

/* There is another worker. After one that was hung the next has twice as long. */
void pulse_renew(struct pulse *pulse, struct pulse_watch *watch, bool was_hung);

/* Inspects the worker, unless that was done less than a second ago. Whether it is hung. proc_pid_stat(5). */
bool pulse_inspect(const struct pulse *pulse, struct pulse_watch *watch, pid_t worker);
