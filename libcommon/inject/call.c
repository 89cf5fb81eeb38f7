/* SPDX-License-Identifier: MIT */
/* Running system calls on a stopped thread. */
#include <errno.h>
#include <pthread.h>
#include <sys/ptrace.h>

#include "base/cleanup.h"
#include "cgroup/cgroup.h"
#include "inject/area.h"
#include "inject/stop.h"
#include "inject/thaw.h"

#define USER_MS 200 /* for a stopped thread to reach its system call (a frozen cgroup keeps it from that) */

int inject_lost(struct inject *inject)
{
	inject->tid = 0;
	inject->favourite = 0;
	inject->bootstrap = 0; /* the thread may stand there */
	inject_thaw_end(steal_ptr(&inject->stop->thaw));
	pthread_sigmask(SIG_SETMASK, &inject->stop->our_sigmask, NULL);
	return -ESRCH;
}

int inject_enter(struct inject *inject, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		 uint64_t a5)
{
	struct inject_stop *stop = inject->stop;
	/* The frame is where it was made: beside the bootstrap, as long as there is one. */
	uint64_t insn = inject->bootstrap  ? inject->bootstrap
			: inject->area.end ? inject->area.start + AREA_DATA
					   : inject->gadget;
	int rc;

	if (!inject->tid)
		return -ESRCH;
	if (inject->area.end && !inject->bootstrap && (rc = inject_check_trampoline(inject)) < 0)
		return rc;
	arch_call(&stop->now, insn, stop->frame, number, (uint64_t[]){a0, a1, a2, a3, a4, a5});
	if (arch_set_regs(inject->tid, &stop->now) < 0)
		return inject_lost(inject);
	/*
	 * Only where the way back unblocks them: were this process to die, the thread would keep them blocked for good.
	 */
	if (!stop->moved && ptrace(PTRACE_SETSIGMASK, inject->tid, sizeof(stop->sigmask), &(uint64_t){ALL_SIGNALS}) < 0)
		return inject_lost(inject);
	stop->moved = true;
	if (ptrace(PTRACE_SYSCALL, inject->tid, NULL, NULL) < 0)
		return inject_lost(inject);
	stop_poll(inject, inject->tid);
	rc = stop_wait_syscall(inject->tid, USER_MS);
	if (rc == -ETIMEDOUT) {
		inject->frozen = cgroup_is_frozen(inject->target); /* the next one to begin sees to that */
		rc = inject->frozen ? rc : stop_wait_syscall(inject->tid, STARVED_US / 1000);
	}
	if (rc == -ETIMEDOUT) /* interrupted, so that inject_end finds it at a stop */
		rc = ptrace(PTRACE_INTERRUPT, inject->tid, NULL, NULL) < 0 ? -ESRCH : stop_wait_either(inject->tid);
	if (rc == -ESRCH)
		return inject_lost(inject);
	stop->entered = rc == 0;
	return rc;
}

int64_t inject_finish(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	struct arch_regs regs;

	if (!inject->tid)
		return -ESRCH;
	stop->entered = false;
	if (ptrace(PTRACE_SYSCALL, inject->tid, NULL, NULL) < 0 || stop_wait_syscall(inject->tid, -1) < 0 ||
	    arch_get_regs(inject->tid, &regs) < 0)
		return inject_lost(inject);
	return arch_result(&regs);
}

int inject_cancel(struct inject *inject)
{
	if (!inject->tid || arch_skip(inject->tid) < 0)
		return inject_lost(inject);
	return inject_finish(inject) == -ESRCH ? -ESRCH : 0;
}

int64_t inject_call(struct inject *inject, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		    uint64_t a5)
{
	int rc = inject_enter(inject, number, a0, a1, a2, a3, a4, a5);

	return rc < 0 ? rc : inject_finish(inject);
}
