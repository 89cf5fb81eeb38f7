/* SPDX-License-Identifier: MIT */
/* Seizing a thread, and letting it go: now, or when it stops at last. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size.h"
#include "inject/restart.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "proc/tracer.h"

#define STOP_MS 50 /* for a thread to stop, before another is tried */
#define TRIES   4  /* at a thread that nobody traces by the time we ask */

int stop_seize(const struct inject *inject, pid_t tid, unsigned long options)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		struct proc_stat stat;
		pid_t tracer;

		if (ptrace(PTRACE_SEIZE, tid, NULL, options) == 0)
			return 0;
		if (errno != EPERM)
			return -errno;
		if (proc_stat_read(tid, &stat) == -ESRCH || strchr("ZX", stat.state))
			return -ESRCH;
		tracer = tracer_of(inject->target, tid);
		if (tracer)
			return tracer_is_ours(tracer) ? -EALREADY : -EPERM;
	}
	return -EPERM;
}

void stop_let_go(pid_t tid, int signal)
{
	struct arch_regs regs;

	if (arch_get_regs(tid, &regs) == 0 && arch_native(&regs)) {
		restart_interrupted(tid, &regs);
		arch_set_regs(tid, &regs);
	}
	ptrace(PTRACE_DETACH, tid, NULL, signal);
}

/* Whether a thread has a seccomp filter; also when that cannot be told. */
static bool is_filtered(pid_t tid)
{
	uint64_t mode = 0;
	int rc = proc_status_read(tid, "Seccomp", 10, &mode);

	return rc == 0 ? mode != 0 : rc != -ESRCH && rc != -ENOENT;
}

/*
 * A tracer that may suspend seccomp filters does, which costs less than to ask whether there are any. One that may not
 * is refused by the kernel (ptrace(2), PTRACE_O_SUSPEND_SECCOMP), and asks once the thread can put none on any more.
 */
int inject_seize(struct inject *inject, pid_t tid)
{
	int rc = -EPERM;

	if (!inject->cannot_suspend)
		rc = stop_seize(inject, tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP);
	if (rc < 0 && rc != -EALREADY && rc != -ESRCH) {
		/* The filter of a puppet lets our calls pass. */
		if (!inject->home && is_filtered(tid))
			return rc == -EPERM ? -ENOTSUP : rc;
		rc = stop_seize(inject, tid, PTRACE_O_TRACESYSGOOD);
		inject->cannot_suspend |= rc == 0;
	}
	if (rc < 0)
		return rc;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return -ESRCH;
	stop_poll(inject, tid);
	rc = stop_wait_interrupted(tid, STOP_MS);
	if (rc == 0 && inject->cannot_suspend && !inject->home && is_filtered(tid)) {
		stop_let_go(tid, 0);
		rc = -ENOTSUP;
	}
	return rc;
}

int inject_reap(struct inject *inject)
{
	int left = 0;

	for (unsigned int i = 0; i < INJECT_LINGERING; i++) {
		pid_t tid = inject->lingering[i].tid;
		pid_t tracer = inject->lingering[i].tracer;
		int status = 0;
		pid_t got = 0;

		if (!tid)
			continue;
		if (tracer == gettid())
			got = waitpid(tid, &status, __WALL | WNOHANG);
		else if (tgkill(getpid(), tracer, 0) < 0)
			got = -1; /* that thread has ended, and the kernel has let go for it */
		else
			continue;
		if (!got) {
			left++;
			continue;
		}
		if (got == tid && WIFSTOPPED(status))
			stop_let_go(tid, stop_is_event(status) ? 0 : WSTOPSIG(status));
		inject->lingering[i].tid = 0;
	}
	return left;
}

bool inject_lingers(const struct inject *inject, pid_t tid)
{
	for (unsigned int i = 0; i < INJECT_LINGERING; i++)
		if (inject->lingering[i].tid == tid)
			return true;
	return false;
}

void inject_linger(struct inject *inject, pid_t tid)
{
	for (;;) {
		for (unsigned int i = 0; i < INJECT_LINGERING; i++)
			if (!inject->lingering[i].tid) {
				inject->lingering[i].tid = tid;
				inject->lingering[i].tracer = gettid();
				return;
			}
		inject_reap(inject);
		usleep(1000);
	}
}

int inject_place(struct inject *inject, pid_t tid, struct place *place)
{
	struct arch_regs regs;
	int rc = proc_place_read(inject->target->pid, tid, place);

	if (rc != -EAGAIN)
		return rc;
	rc = inject_seize(inject, tid);
	if (rc == -ETIMEDOUT)
		inject_linger(inject, tid);
	if (rc < 0)
		return rc;
	rc = arch_get_regs(tid, &regs);
	stop_let_go(tid, 0);
	if (rc == 0)
		*place = (struct place){.tid = tid, .call = -1, .ip = arch_ip(&regs), .sp = arch_sp(&regs)};
	return rc;
}
