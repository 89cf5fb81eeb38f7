/* SPDX-License-Identifier: MIT */
/* Choosing a thread: one whose call has nothing to lose by a stop, if there is one. */
#include "inject/choose.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/restart.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define PATIENCE_US 100000
#define LOOK_US     1000
#define LEAST       7 /* times that the patience is halved */

/*
 * A thread may have descriptors of its own (unshare(2)), as an agent's has. Those that are made there, taken from the
 * process or closed are the main thread's, or those of the thread that stands for it: pidfd_getfd(2).
 */
static bool shares_descriptors(const struct inject *inject, pid_t tid)
{
	pid_t pid = target_thread(inject->target);

	return tid == pid || syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0) <= 0;
}

static enum suits suits_by_call(pid_t tid)
{
	uint64_t arguments[6];
	long number;
	int rc = proc_syscall_read(tid, &number, arguments);

	if (rc <= 0)
		return rc < 0 ? SUITS_RUNS : SUITS_WAITS;
	return restart_loses(number, arguments) ? SUITS_IN_PART : SUITS_WAITS;
}

/* SUITS_COUNT: not at all; *failed says why, when that is not that it has ended. */
static enum suits thread_suits(const struct inject *inject, pid_t tid, int *failed)
{
	struct proc_stat stat;
	int rc = proc_stat_read(tid, &stat);

	if (rc < 0 && rc != -ESRCH && rc != -ENOENT)
		*failed = rc;
	if (rc < 0 || strchr("ZX", stat.state) || !shares_descriptors(inject, tid))
		return SUITS_COUNT;
	if (stat.state == 'D' || inject_lingers(inject, tid))
		return SUITS_LATE;
	return suits_by_call(tid);
}

/* Puts one in where it belongs; the worst one falls out at the end. */
static size_t put_in(struct choice *choices, size_t count, const struct choice *choice)
{
	size_t at = count;

	while (at > 0 && choices[at - 1].suits > choice->suits)
		at--;
	if (at == CHOICES)
		return count;
	count = count < CHOICES ? count + 1 : count;
	memmove(&choices[at + 1], &choices[at], (count - at - 1) * sizeof(*choices));
	choices[at] = *choice;
	return count;
}

static ssize_t scan_threads(const struct inject *inject, struct choice choices[CHOICES])
{
	_cleanup_closedir_ DIR *tasks = NULL;
	struct choice choice = {.tid = inject->favourite};
	size_t count = 0;
	int failed = 0;

	choice.suits = choice.tid ? thread_suits(inject, choice.tid, &failed) : SUITS_COUNT;
	if (choice.suits != SUITS_COUNT)
		count = put_in(choices, count, &choice);
	if (count && choice.suits == SUITS_WAITS)
		return (ssize_t)count;
	tasks = tasks_open(inject->target);
	if (!tasks)
		return tasks_error();
	/* The last one of a full list serves as well as the first. */
	while ((count < CHOICES || choices[CHOICES - 1].suits != SUITS_WAITS) && (choice.tid = tasks_next(tasks)) > 0) {
		if (choice.tid == inject->favourite)
			continue;
		choice.suits = thread_suits(inject, choice.tid, &failed);
		if (choice.suits != SUITS_COUNT)
			count = put_in(choices, count, &choice);
	}
	return count ? (ssize_t)count : failed;
}

ssize_t choose_threads(struct inject *inject, struct choice choices[CHOICES])
{
	unsigned int *in_vain = &inject->stop->waits_in_vain;
	uint64_t deadline = now_us() + (PATIENCE_US >> *in_vain);
	bool waited = false;

	for (;;) {
		ssize_t count = scan_threads(inject, choices);

		if (count <= 0 || choices[0].suits != SUITS_IN_PART) {
			*in_vain = waited ? 0 : *in_vain;
			return count;
		}
		if (now_us() > deadline) {
			*in_vain += *in_vain < LEAST;
			return count;
		}
		usleep(LOOK_US);
		waited = true;
	}
}
