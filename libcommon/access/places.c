/* SPDX-License-Identifier: MIT */
/* Places of threads, by the kernel's word where they rest and by ptrace where they run. */
#include "access/places.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define PATIENCE_US 2000000
#define INSIDE_US   5000 /* for all threads to leave a call */

/* On a machine that is busy a thread may not get a processor to stop on for a while. */
static int read_place(const struct target *target, struct inject *inject, pid_t tid, struct place *place)
{
	uint64_t deadline = now_us() + PATIENCE_US;
	int rc;

	if (!inject)
		return proc_place_read(target->pid, tid, place);
	while ((rc = inject_place(inject, tid, place)) == -ETIMEDOUT && now_us() < deadline)
		while (inject_reap(inject) > 0 && now_us() < deadline)
			usleep(1000);
	return rc;
}

int places_read(const struct target *target, struct inject *inject, struct place **places, size_t *count)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	_cleanup_free_ struct place *found = NULL;
	size_t used = 0, capacity = 0;

	if (!tasks)
		return tasks_error();
	for (pid_t tid; (tid = tasks_next(tasks)) > 0;) {
		int rc;

		if (array_reserve(&found, used, &capacity) < 0)
			return -ENOMEM;
		rc = read_place(target, inject, tid, &found[used]);
		if (rc == 0)
			used++;
		else if (rc != -ESRCH && !(rc == -EAGAIN && !inject))
			return rc;
	}
	*count = used;
	*places = steal_ptr(&found);
	return 0;
}

static bool has_ended(const struct target *target, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", target->pid, tid);
	return access(path, F_OK) < 0;
}

/*
 * A worker of io_uring shows the system call of the thread that made it. While it waits for something to do it is in
 * none of its own (io_uring/io-wq.c, io_wq_worker); the thread that polls a queue leaves madvise(2) to workers
 * (io_uring/advise.c).
 */
static bool outside_as_worker(const struct target *target, pid_t tid)
{
	static const char polls[] = "iou-sqp";
	char text[64];

	if (proc_thread_read(target->pid, tid, "wchan", text, sizeof(text)) > 0 && strcmp(text, "io_wq_worker") == 0)
		return true;
	return proc_thread_read(target->pid, tid, "comm", text, sizeof(text)) > 0 &&
	       strncmp(text, polls, strlen(polls)) == 0;
}

static bool outside_madvise(const struct target *target, struct inject *inject, pid_t tid)
{
	struct proc_stat stat;
	struct place place;
	int rc = proc_stat_read_thread(target->pid, tid, &stat);

	if (rc == 0 && proc_stat_is_kernel_worker(&stat)) /* a thread of the kernel may have borrowed the memory */
		return proc_stat_is_kernel_thread(&stat) || outside_as_worker(target, tid);
	if (rc == 0)
		rc = inject ? inject_place(inject, tid, &place) : proc_place_read(target->pid, tid, &place);
	if (rc == 0)
		return place.call != SYS_madvise && place.call != SYS_process_madvise;
	return rc == -ESRCH && has_ended(target, tid);
}

static bool all_outside_madvise(const struct target *target, struct inject *inject, uint64_t deadline)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	bool all = true;

	if (!tasks)
		return errno == ENOENT; /* it has ended */
	for (pid_t tid; all && (tid = tasks_next(tasks)) > 0;)
		while (!(all = outside_madvise(target, inject, tid)) && now_us() < deadline)
			usleep(INSIDE_US / 100);
	return all;
}

/*
 * Processes that share the memory and are none of its threads, as children of vfork(2); those that run are not stopped
 * for that.
 */
static bool borrowers_outside_madvise(const struct target *target, uint64_t deadline)
{
	_cleanup_closedir_ DIR *processes = processes_open();
	pid_t thread = target_thread(target);
	bool all = processes != NULL;

	for (pid_t pid; all && (pid = tasks_next(processes)) > 0;)
		if (pid != target->pid && syscall(SYS_kcmp, thread, pid, KCMP_VM, 0, 0) == 0)
			all = all_outside_madvise(&(struct target){.pid = pid, .pidfd = -1}, NULL, deadline);
	return all;
}

bool places_outside_madvise(const struct target *target, struct inject *inject)
{
	uint64_t deadline = now_us() + INSIDE_US;
	bool all = all_outside_madvise(target, inject, deadline) && borrowers_outside_madvise(target, deadline);

	if (inject)
		inject_reap(inject);
	return all;
}
