/* SPDX-License-Identifier: MIT */
/* After the death of a process that was injecting: its control area, and the threads that may still stand there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "access/places.h"
#include "access/quiesce.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/stop.h"
#include "proc/tasks.h"
#include "puppet/copy.h"

#define HOME_US 50000 /* for a thread that runs to leave the control area; one that is stopped does not */

/* In the control area, or in code that makes a process and goes there afterwards. */
static bool is_sent(const struct inject *inject, uint64_t ip)
{
	return (ip >= inject->area.start && ip < inject->area.end) ||
	       inject_copy_lies_at(inject->mem_fd, round_down(ip, page_size()));
}

/* What one inspection of a thread says of the calls that it may still make. */
enum standing {
	STANDS_ELSEWHERE,
	STANDS_HARMLESS, /* where it was sent, with nothing to do that concerns us but to go home */
	STANDS_UNKNOWN,  /* it cannot be stopped just now, or its tracer is about to end */
};

/*
 * A thread that a tracer had sent to a call and that did not run since (its process is stopped, or there was no
 * processor) would make it at any later time. It makes another one instead, that does nothing.
 */
static enum standing disarm_thread(struct inject *inject, pid_t tid)
{
	struct arch_regs regs;
	enum standing stands = STANDS_ELSEWHERE;
	struct place place;
	int rc = proc_place_read(inject->target->pid, tid, &place);

	if (rc == -ESRCH || (rc == 0 && !is_sent(inject, place.ip)))
		return STANDS_ELSEWHERE;
	rc = inject_seize(inject, tid);
	if (rc == -ETIMEDOUT)
		inject_linger(inject, tid);
	if (rc < 0)
		return rc == -ESRCH ? STANDS_ELSEWHERE : STANDS_UNKNOWN;
	if (arch_get_regs(tid, &regs) == 0 && is_sent(inject, arch_ip(&regs))) {
		stands = STANDS_HARMLESS;
		if (arch_ip(&regs) == inject->area.start + AREA_DATA) {
			arch_set_number(&regs, SYS_getpid);
			if (arch_set_regs(tid, &regs) < 0)
				stands = STANDS_UNKNOWN;
		}
	}
	stop_let_go(tid, 0);
	return stands;
}

/* One scan of every thread: how many there are of each kind. Returns 0 or as tasks_error. */
static int disarm_all(struct inject *inject, unsigned int *harmless, unsigned int *unknown)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(inject->target);

	*harmless = *unknown = 0;
	if (!tasks)
		return tasks_error();
	inject_reap(inject);
	for (pid_t tid; (tid = tasks_next(tasks)) > 0;) {
		enum standing stands = inject_lingers(inject, tid) ? STANDS_UNKNOWN : disarm_thread(inject, tid);

		*harmless += stands == STANDS_HARMLESS;
		*unknown += stands == STANDS_UNKNOWN;
	}
	return 0;
}

int inject_quiesce(struct inject *inject, int timeout_ms)
{
	uint64_t now = now_us();
	uint64_t deadline = now + (uint64_t)timeout_ms * 1000, homeward = now + HOME_US;
	unsigned int harmless, unknown;

	for (;; usleep(1000)) {
		int rc = disarm_all(inject, &harmless, &unknown);

		if (rc < 0)
			return rc;
		now = now_us();
		if (!unknown && (!harmless || now > homeward))
			return harmless ? -EINPROGRESS : 0;
		if (now > deadline)
			return -ETIMEDOUT;
	}
}

int inject_inherit(struct inject *inject, const struct target *target, uint64_t area, int timeout_ms,
		   struct error *error)
{
	struct region region = region_at(area, inject_area_bytes());
	int rc = region.start < region.end ? inject_rejoin(inject, target, region, error) : -ENOENT;

	if (rc < 0)
		return rc;
	rc = inject_quiesce(inject, timeout_ms);
	if (rc == 0)
		return 0;
	while (inject_reap(inject) > 0)
		usleep(1000);
	inject_abandon(inject);
	return error_set(error, rc,
			 rc == -EINPROGRESS ? "a thread stands where a reclaimer that was killed had sent it"
					    : "a thread may still make a system call of a reclaimer that was killed",
			 "try again; or end what traces the process", "go on in process %d", target->pid);
}
