/* SPDX-License-Identifier: MIT */
/*
 * Which process an address space belongs to that was forked. No event tells; a fault tells the thread that waits for it
 * (UFFD_FEATURE_THREAD_ID), by its number in its own pid namespace. What can be seen of a process only in /proc is seen
 * of a child once it has touched something that is not there.
 */

#include "pager/children.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pager/pager.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define TRIES     8     /* who waits may have been woken already */
#define ASLEEP_US 10000 /* on a machine that is busy a thread may not get that far at once */

/* The process of a thread, or 0. */
static pid_t process_of(pid_t tid)
{
	uint64_t process;

	return proc_status_read(tid, "Tgid", 10, &process) < 0 ? 0 : (pid_t)process;
}

/*
 * A thread of that number which waits for no fault is another one, in another namespace. While it runs, it may be about
 * to: its message can be read before it sleeps.
 */
static bool waits_for_fault(pid_t tid)
{
	uint64_t deadline = now_us() + ASLEEP_US;
	char text[64] = "0";

	while (proc_file_read(tid, "wchan", text, sizeof(text)) > 0 && strcmp(text, "0") == 0 && now_us() < deadline)
		usleep(ASLEEP_US / 100);
	return strcmp(text, "handle_userfault") == 0;
}

void child_learn(struct space *space, pid_t tid)
{
	struct proc_stat stat;
	pid_t pid;

	if (space->id == 0 || space->pid > 0 || space->pid <= -TRIES)
		return;
	pid = waits_for_fault(tid) ? process_of(tid) : 0;
	if (pid > 0 && proc_stat_read(pid, &stat) == 0) {
		space->starttime = stat.starttime;
		space->pid = pid;
	} else {
		space->pid--;
	}
}

int child_pagemap_read(const struct space *space, uint64_t start, size_t count, uint64_t *entries)
{
	_cleanup_close_ int fd = space->pid > 0 ? proc_open(space->pid, "pagemap", O_RDONLY) : -ESRCH;
	int rc = fd < 0 ? fd : pagemap_read(fd, start, count, entries);
	struct proc_stat stat;

	/* Its number may be another one's by now. */
	if (rc == 0 && (proc_stat_read(space->pid, &stat) < 0 || stat.starttime != space->starttime))
		rc = -ESRCH;
	return rc;
}

static bool any_thread_forks(const struct target *target)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	struct place place;

	for (pid_t tid; tasks && (tid = tasks_next(tasks)) > 0;) {
		if (proc_place_read(target->pid, tid, &place) < 0)
			continue;
#ifdef SYS_fork
		if (place.call == SYS_fork)
			return true;
#endif
		if (place.call == SYS_clone || place.call == SYS_clone3)
			return true;
	}
	return false;
}

void child_inspect(struct space *space)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	struct error ignored = {0};

	region_vec_free(&space->unforked);
	space->unforked_known = false;
	if (space->pid <= 0 || target_open(&target, space->pid, -1, &ignored) < 0 ||
	    target.starttime != space->starttime || !any_thread_forks(&target))
		return;
	space->unforked_known = kept_from_children(&target, &space->unforked) == 0;
}
