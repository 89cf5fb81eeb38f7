/* SPDX-License-Identifier: MIT */
/* Whether a worker is at work, or hung. */

#include "service/pulse.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/stat.h"
#include "proc/tasks.h"
#include "service/failpoint.h"

#define STARVED    10    /* times as long, for a thread that waits for a processor */
#define STARTING   10    /* and before the main thread's first round */
#define STARVED_US 20000 /* in which a thread that runs is seen to run */
#define JOB        4     /* and for a request, which waits for the target or a disk */
#define FORGIVEN   600   /* inspections of a worker in health, after which others that were hung are forgotten */

struct pulse *pulse_new(void)
{
	struct pulse *pulse = mmap(NULL, sizeof(*pulse), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return pulse == MAP_FAILED ? NULL : pulse;
}

void pulse_resume(struct pulse_thread *thread)
{
	atomic_fetch_or(&thread->count, 1);
}

void pulse_begin(struct pulse_thread *thread)
{
	atomic_store(&thread->tid, (uint32_t)gettid());
	pulse_resume(thread);
}

void pulse_next(struct pulse_thread *thread)
{
	atomic_fetch_add(&thread->count, 2);
}

void pulse_end(struct pulse_thread *thread)
{
	atomic_fetch_add(&thread->count, 1);
}

static unsigned int normal_patience(void)
{
	return failpoint_number("UVM_PATIENCE", PULSE_PATIENCE);
}

void pulse_renew(struct pulse *pulse, struct pulse_watch *watch, bool was_hung)
{
	unsigned int patience = watch->patience ? watch->patience : normal_patience();

	*watch = (struct pulse_watch){.patience = patience};
	if (was_hung)
		watch->patience = (unsigned int)min_u64(patience * 2, PULSE_PATIENCE_MAX);
	for (size_t i = 0; i < PULSE_THREADS; i++) {
		atomic_store(&pulse->threads[i].count, 0);
		atomic_store(&pulse->threads[i].tid, 0);
	}
}

static bool in_state(pid_t tid, const char *states)
{
	struct proc_stat stat;

	return tid && proc_stat_read(tid, &stat) == 0 && strchr(states, stat.state);
}

/* Nanoseconds that a thread has had a processor: the first number of its schedstat. */
static uint64_t used_ns(pid_t tid)
{
	char text[64] = "";

	proc_file_read(tid, "schedstat", text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* Whether it could run and is not let. */
static bool is_starved(pid_t tid)
{
	uint64_t before = used_ns(tid);

	if (!in_state(tid, "R"))
		return false;
	usleep(STARVED_US);
	return in_state(tid, "R") && used_ns(tid) == before;
}

/* A thread that waits for a processor may hold a lock that others wait for. */
static bool any_is_starved(pid_t worker)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(&(struct target){.pid = worker});

	for (pid_t tid; tasks && (tid = tasks_next(tasks)) > 0;)
		if (is_starved(tid))
			return true;
	return false;
}

/* For how many inspections a thread of the worker may be at what it is at. */
static unsigned int patience_with(const struct pulse_watch *watch, const struct pulse_thread *thread, pid_t worker,
				  size_t i, bool starting)
{
	unsigned int patience = watch->patience * (starting ? STARTING : i == PULSE_JOB ? JOB : 1);
	bool excused = in_state((pid_t)atomic_load(&thread->tid), "R") || any_is_starved(worker);

	return excused ? patience * STARVED : patience;
}

static bool thread_is_hung(const struct pulse *pulse, struct pulse_watch *watch, pid_t worker, size_t i)
{
	const struct pulse_thread *thread = &pulse->threads[i];
	uint32_t count = atomic_load(&thread->count);
	bool starting = i == 0 && !count;

	if ((!(count & 1) && !starting) || count != watch->threads[i].count) {
		watch->threads[i].count = count;
		watch->threads[i].inspections = 0;
		return false;
	}
	return ++watch->threads[i].inspections >= watch->patience &&
	       watch->threads[i].inspections >= patience_with(watch, thread, worker, i, starting);
}

bool pulse_inspect(const struct pulse *pulse, struct pulse_watch *watch, pid_t worker)
{
	uint64_t now = now_us();
	bool hung = false;

	if (now - watch->inspected_us < PULSE_INSPECT_MS * UINT64_C(1000))
		return false;
	watch->inspected_us = now;
	if (!watch->patience)
		watch->patience = normal_patience();
	watch->stopped = in_state(worker, "T") ? watch->stopped + 1 : 0;
	for (size_t i = 0; i < PULSE_THREADS; i++)
		hung |= thread_is_hung(pulse, watch, worker, i);
	if (++watch->healthy >= FORGIVEN)
		watch->patience = normal_patience();
	return hung || watch->stopped >= min_u64(PULSE_STOPPED, watch->patience);
}
