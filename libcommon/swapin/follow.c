/* SPDX-License-Identifier: MIT */
/*
 * Waking a thread on another processor costs more than the answer to a fault, and most of it is paid by the thread that
 * faults: on the same processor it is a switch. So the thread that is woken first follows who faults. Which thread of
 * the program that is comes with each message; where that one runs is looked up now and then.
 */
#include "swapin/follow.h"

#include <sched.h>

#include "base/clock.h"
#include "pager/pager.h"
#include "proc/stat.h"

#define LOOK_NS 2000000

void follow_init(struct pager *pager, unsigned int *count)
{
	struct faults *faults = &pager->faults;
	cpu_set_t set;

	*count = 0;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		CPU_ZERO(&set);
	for (int cpu = 0; cpu < CPU_SETSIZE && *count < FAULT_THREADS_MAX; cpu++)
		if (CPU_ISSET(cpu, &set))
			faults->processors[(*count)++] = cpu;
	if (*count < 2) {
		faults->processors[0] = -1;
		*count = 1;
	}
}

void follow_place(struct pager *pager, unsigned int number)
{
	int cpu = pager->faults.processors[number];
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pager->faults.threads[number], sizeof(set), &set);
}

/* All processors that the worker may use except this, if there are others. */
static void stay_away(int cpu)
{
	cpu_set_t set;

	if (sched_getaffinity(getpid(), sizeof(set), &set) < 0)
		return;
	CPU_CLR(cpu, &set);
	if (CPU_COUNT(&set))
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static bool may_run_on(int cpu)
{
	cpu_set_t set;

	return cpu >= 0 && sched_getaffinity(getpid(), sizeof(set), &set) == 0 && CPU_ISSET(cpu, &set);
}

/* The thread that was there takes its place. */
static void lead_first(struct pager *pager, int cpu)
{
	struct faults *faults = &pager->faults;

	for (unsigned int i = 1; i < faults->count; i++)
		if (faults->processors[i] == cpu) {
			faults->processors[i] = faults->processors[0];
			follow_place(pager, i);
		}
	faults->processors[0] = cpu;
	follow_place(pager, 0);
}

void follow_faults(struct pager *pager)
{
	struct faults *faults = &pager->faults;
	struct proc_stat stat;
	uint64_t now;
	pid_t tid;

	if (!atomic_load(&faults->asked_by) || faults->processors[0] < 0)
		return;
	now = clock_now_ns();
	if (now < faults->look_again_ns)
		return;
	faults->look_again_ns = now + LOOK_NS;
	tid = atomic_exchange(&faults->asked_by, 0);
	if (proc_stat_read_thread(pager->target.pid, tid, &stat) < 0 || !may_run_on(stat.processor))
		return;
	if (stat.processor == faults->processors[0] || stat.processor != faults->seen_on) {
		faults->seen_on = stat.processor; /* threads on several: it stays where it is */
		return;
	}
	lead_first(pager, stat.processor);
	stay_away(stat.processor);
}
