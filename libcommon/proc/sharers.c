/* SPDX-License-Identifier: MIT */
/* Finding processes that share memory, by kcmp(2). */
#include "proc/sharers.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define FULL_US 1000000

/* By the last field of /proc/loadavg (proc_loadavg(5)); 0: not known. */
static pid_t newest_number(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/loadavg", "re");
	pid_t newest = 0;

	if (file && fscanf(file, "%*s %*s %*s %*s %d", &newest) != 1)
		newest = 0;
	return newest;
}

static bool shares_memory(pid_t thread, pid_t pid)
{
	return syscall(SYS_kcmp, thread, pid, KCMP_VM, 0, 0) == 0;
}

/* Threads of the kernel may have borrowed the memory, or none at all, as what is ending has none. */
static int consider_process(struct sharers *sharers, const struct target *target, pid_t thread, pid_t pid)
{
	_cleanup_close_ int leader = -1;
	struct proc_stat stat;

	if (pid == target->pid || !shares_memory(thread, pid))
		return 0;
	leader = pidfd_of(pid);
	if (leader < 0 || proc_stat_read(pid, &stat) < 0 || proc_stat_is_kernel_worker(&stat) ||
	    proc_stat_is_exiting(&stat))
		return 0;
	if (array_reserve(&sharers->pids, sharers->count, &sharers->capacity) < 0)
		return -ENOMEM;
	sharers->pids[sharers->count++] = pid;
	return 0;
}

static int inspect_all(struct sharers *sharers, const struct target *target, pid_t thread)
{
	_cleanup_closedir_ DIR *processes = processes_open();
	int rc = 0;

	sharers->count = 0;
	for (pid_t pid; rc == 0 && processes && (pid = tasks_next(processes)) > 0;)
		rc = consider_process(sharers, target, thread, pid);
	return rc;
}

static int inspect_new(struct sharers *sharers, const struct target *target, pid_t thread, pid_t newest)
{
	size_t keep = 0;
	int rc = 0;

	for (size_t i = 0; i < sharers->count; i++)
		if (shares_memory(thread, sharers->pids[i]))
			sharers->pids[keep++] = sharers->pids[i];
	sharers->count = keep;
	for (pid_t pid = sharers->newest + 1; rc == 0 && pid <= newest; pid++)
		rc = consider_process(sharers, target, thread, pid);
	return rc;
}

int sharers_inspect(struct sharers *sharers, const struct target *target)
{
	pid_t newest = newest_number(), thread = target_thread(target);
	uint64_t now = now_us();
	int rc;

	if (newest < sharers->newest || !newest || !sharers->full_us || now - sharers->full_us >= FULL_US) {
		rc = inspect_all(sharers, target, thread);
		sharers->full_us = rc == 0 ? now : 0;
	} else {
		rc = inspect_new(sharers, target, thread, newest);
	}
	sharers->newest = newest;
	return rc;
}

void sharers_free(struct sharers *sharers)
{
	free(sharers->pids);
	*sharers = (struct sharers){0};
}
