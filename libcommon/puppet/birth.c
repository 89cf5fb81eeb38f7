/* SPDX-License-Identifier: MIT */
/* Sending a stopped thread through code that makes another process. */
#include "puppet/birth.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/arch/arch.h"
#include "inject/area.h"
#include "inject/far.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "service/failpoint.h"

#define BIRTH_MS     ((int)failpoint_number("UVM_BIRTH_MS", 10000)) /* a terabyte of small pages takes seconds */
#define LOOK_US      1000
#define UNTOLD_LOOKS 200
#define ALONE_SECS   5 /* for which what is born waits to be taken care of */
#define AT_HOME      0
#define BORN         1

int birth_set_options(pid_t tid, long options)
{
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL, options | PTRACE_O_SUSPEND_SECCOMP) == 0 ||
	    ptrace(PTRACE_SETOPTIONS, tid, NULL, options) == 0)
		return 0;
	return -errno;
}

/* Whether orphans are given to the target itself. */
static int64_t reaps_orphans(struct inject *inject)
{
	int subreaper = 0;
	int64_t rc = inject_call(inject, SYS_getpid, 0, 0, 0, 0, 0, 0);

	if (rc < 0 || rc == 1)
		return rc;
	rc = inject_call3(inject, SYS_prctl, PR_GET_CHILD_SUBREAPER, inject->scratch, 0);
	if (rc == 0)
		rc = inject_read(inject, inject->scratch, &subreaper, sizeof(subreaper));
	return rc < 0 ? rc : subreaper != 0;
}

static uint64_t data_address(const struct birth *birth)
{
	return birth->own.start + page_size();
}

static int64_t write_code(struct inject *inject, const struct birth *birth)
{
	size_t bytes;
	const unsigned char *code = arch_copy_code(&bytes);
	struct arch_copy data = {
		.flags = CLONE_FILES | (birth->child ? birth->shares : CLONE_VM),
		.waited = !birth->child,
		.home = inject->area.start + AREA_DATA,
		.left = ALONE_SECS,
		.tick = {1, 0},
		.again = CLONE_FILES | birth->shares,
	};
	static const int ending[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	int64_t rc = inject_write_code(inject, birth->own.start, code, bytes);

	snprintf(data.name, sizeof(data.name), "%.15s", birth->name);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		data.ending |= UINT64_C(1) << (ending[i] - 1);
	if (rc == 0)
		rc = inject_call3(inject, SYS_mprotect, data_address(birth), page_size(), PROT_READ | PROT_WRITE);
	if (rc == 0)
		rc = inject_write(inject, data_address(birth), &data, sizeof(data));
	if (rc == 0)
		inject_name(inject, birth->own, "uvmtools");
	return rc;
}

void birth_unmap(struct inject *inject, const struct birth *birth)
{
	inject_unmap(inject, birth->own);
}

int64_t birth_map(struct inject *inject, struct birth *birth)
{
	uint64_t bytes = BIRTH_PAGES * page_size();
	int64_t rc = reaps_orphans(inject);
	int64_t at;

	birth->child = rc > 0;
	/* What is born has none but this to say that it cannot. */
	if (rc >= 0)
		rc = inject_call3(inject, SYS_close_range, ~0U, ~0U, 0);
	if (rc < 0)
		return rc;
	at = inject_map_far(inject, birth->own.start, bytes, PROT_READ | PROT_EXEC, 0);
	if (inject_failed(at))
		return at;
	birth->own = region_at((uint64_t)at, bytes);
	rc = write_code(inject, birth);
	if (rc < 0)
		birth_unmap(inject, birth);
	return rc;
}

/*
 * Runs a process until it makes another one (BORN, *pid is the new one's), is about to go home (AT_HOME), has ended
 * (-ESRCH) or takes too long (-ETIMEDOUT).
 */
static int follow_birth(struct inject *inject, pid_t tid, int request, int timeout_ms, pid_t *pid)
{
	int signal = 0;
	bool calls = false; /* it stood at the entry of a call */

	for (;;) {
		struct arch_regs regs;
		unsigned long message;
		int status;
		int rc;

		/* Killed, it is no more stopped, and its end is still to be waited for. */
		failpoint("sending");
		if (ptrace(request, tid, NULL, signal) < 0) {
			stop_wait(tid, &status, BIRTH_MS);
			return -ESRCH;
		}
		if (calls)
			failpoint("bearing");
		stop_poll(inject, tid);
		rc = stop_wait(tid, &status, timeout_ms);
		if (rc < 0)
			return rc;
		signal = 0;
		if (stop_is_event(status))
			continue;
		if (status >> 16) {
			if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message) < 0)
				return -ESRCH;
			*pid = (pid_t)message;
			return BORN;
		}
		calls = stop_is_syscall(status);
		if (!calls)
			signal = WSTOPSIG(status);
		else if (arch_get_regs(tid, &regs) == 0 &&
			 arch_ip(&regs) - inject->area.start < region_bytes(inject->area))
			return AT_HOME;
	}
}

void birth_end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	while (stop_wait(pid, &status, BIRTH_MS) == 0)
		ptrace(PTRACE_CONT, pid, NULL, NULL);
}

/* Our new process stands before its first instruction. One that does not is ended. */
static int meet_child(pid_t pid, long options)
{
	int status;
	int rc = stop_wait(pid, &status, BIRTH_MS);

	if (rc == -ESRCH)
		return rc;
	if (rc == 0)
		rc = birth_set_options(pid, options);
	if (rc < 0)
		birth_end(pid);
	return rc;
}

/* A process that this thread traces and that stands still; 0: none. Its status is left for birth_end. */
static pid_t find_stopped(void)
{
	siginfo_t info = {0};
	uint64_t tracer = 0;

	if (waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG | WNOWAIT | __WALL | __WNOTHREAD) < 0 || !info.si_pid)
		return 0;
	return proc_status_read(info.si_pid, "TracerPid", 10, &tracer) == 0 && (pid_t)tracer == gettid() ? info.si_pid
													 : 0;
}

/*
 * Killed at its call, as by the exec of another thread, who makes a process does not tell of it: that one stays
 * stopped, and holds the memory. Nothing else is traced by this thread then but threads of the program.
 */
static void end_untold(const struct inject *inject)
{
	for (int looks = 0; looks < UNTOLD_LOOKS; looks++) {
		pid_t pid = find_stopped();

		if (pid > 0 && syscall(SYS_tgkill, inject->target->pid, pid, 0) < 0)
			birth_end(pid);
		else
			usleep(LOOK_US);
	}
}

/* What the code wrote down when there is no copy. */
static int why_none(struct inject *inject, const struct birth *birth)
{
	struct arch_copy data;
	int rc = inject_read(inject, data_address(birth), &data, sizeof(data));

	return rc < 0 ? rc : data.result < 0 ? (int)data.result : -ECHILD;
}

/* The process in the middle: from its first instruction to its end. */
static int run_middle(struct inject *inject, pid_t middle, struct birth *birth)
{
	pid_t pid = 0;
	int rc = meet_child(middle,
			    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
	int ended;

	if (rc < 0)
		return rc;
	rc = ended = follow_birth(inject, middle, PTRACE_CONT, BIRTH_MS, &pid);
	if (rc == BORN) {
		rc = meet_child(pid, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
		birth->pid = rc == 0 ? pid : 0;
		ended = follow_birth(inject, middle, PTRACE_CONT, BIRTH_MS, &pid);
	}
	if (ended != -ESRCH)
		birth_end(middle);
	if (rc < 0 && why_none(inject, birth) == -ECHILD)
		end_untold(inject);
	return rc;
}

/* Its program did not come home. */
static int abort_birth(struct inject *inject, struct birth *birth, int rc)
{
	if (birth->pid)
		birth_end(birth->pid);
	else if (rc == -ESRCH)
		end_untold(inject);
	birth->pid = 0;
	inject_lost(inject);
	return rc;
}

/*
 * Sends the stopped thread through the code. Afterwards it stands at the entry of a call as any other. What makes a
 * copy has no long life, and its end lets the thread go home. Nobody else does: it is waited for as in any call.
 */
int birth_run(struct inject *inject, struct birth *birth)
{
	struct inject_stop *stop = inject->stop;
	int patience_ms = birth->shares ? -1 : BIRTH_MS;
	pid_t born = 0;
	int rc = birth_set_options(inject->tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE);
	int home;

	if (rc < 0)
		return rc;
	arch_copy_call(&stop->now, birth->own.start, stop->frame, data_address(birth));
	if (arch_set_regs(inject->tid, &stop->now) < 0)
		return -ESRCH;
	rc = home = follow_birth(inject, inject->tid, PTRACE_SYSCALL, patience_ms, &born);
	if (rc == BORN && birth->child) {
		rc = meet_child(born, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
		birth->pid = rc == 0 ? born : 0;
	} else if (rc == BORN) {
		rc = run_middle(inject, born, birth);
	}
	if (home == BORN)
		home = follow_birth(inject, inject->tid, PTRACE_SYSCALL, patience_ms, &born);
	stop->entered = home == AT_HOME;
	if (home < 0)
		return abort_birth(inject, birth, home);
	if (!birth->pid && rc != -ETIMEDOUT)
		rc = why_none(inject, birth);
	inject_finish(inject);
	return birth->pid ? 0 : rc;
}

int64_t birth_reap(struct inject *inject, pid_t there)
{
	int64_t rc = inject_call(inject, SYS_wait4, (uint64_t)there, 0, __WALL | WNOHANG, 0, 0, 0);

	return rc == -ECHILD || rc > 0 ? 0 : rc;
}

int birth_run_until(pid_t pid, int request, bool (*reached)(pid_t pid, int status), int *signal)
{
	for (;;) {
		int status;
		int rc;

		if (ptrace(request, pid, NULL, *signal) < 0)
			return -ESRCH;
		rc = stop_wait(pid, &status, BIRTH_MS);
		if (rc < 0)
			return rc;
		*signal = status >> 16 || stop_is_syscall(status) ? 0 : WSTOPSIG(status);
		if (reached(pid, status))
			return 0;
	}
}

bool birth_enters_wait(pid_t pid, int status)
{
	struct arch_regs regs;

	return stop_is_syscall(status) && arch_get_regs(pid, &regs) == 0 && arch_number(&regs) == SYS_rt_sigtimedwait;
}

bool birth_is_group_stop(pid_t pid, int status)
{
	(void)pid;
	return stop_is_event(status) && WSTOPSIG(status) == SIGSTOP;
}
