/* SPDX-License-Identifier: MIT */
/* Waiting for the stops of a seized thread. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/size.h"
#include "inject/stop.h"

#define LOOK_US 50   /* awake, for a thread that runs on another processor: being woken takes as long */
#define NAP_US  1000 /* between polls, should a SIGCHLD go elsewhere */

/*
 * Sleeps until some child or tracee changes, or for `us`. SIGCHLD is blocked while a thread is stopped (and must be in
 * every other thread of this process), so that it is queued for us. Sleeping lets the stopped thread run on the
 * processor we run on.
 */
static void nap_briefly(uint64_t us)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigtimedwait(&child, NULL, &(struct timespec){.tv_nsec = (long)min_u64(us, NAP_US) * 1000});
}

void stop_poll(struct inject *inject, pid_t tid)
{
	uint64_t begun = now_us();
	siginfo_t found = {0};

	while (!inject->shares && !found.si_pid &&
	       waitid(P_PID, (id_t)tid, &found, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) == 0)
		inject->shares = !found.si_pid && now_us() - begun > LOOK_US;
}

int stop_wait(pid_t tid, int *status, int timeout_ms)
{
	uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : now_us() + (uint64_t)timeout_ms * 1000;

	for (;;) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);
		uint64_t now = now_us();

		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (now > deadline)
			return -ETIMEDOUT;
		nap_briefly(deadline - now);
	}
}

bool stop_is_event(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

bool stop_is_syscall(int status)
{
	return WSTOPSIG(status) == (SIGTRAP | 0x80);
}

int stop_wait_interrupted(pid_t tid, int timeout_ms)
{
	for (;;) {
		int status;
		int rc = stop_wait(tid, &status, timeout_ms);

		if (rc < 0 || stop_is_event(status))
			return rc;
		if (ptrace(PTRACE_CONT, tid, NULL, stop_is_syscall(status) ? 0 : WSTOPSIG(status)) < 0)
			return -ESRCH;
	}
}

int stop_wait_syscall(pid_t tid, int timeout_ms)
{
	for (;;) {
		int status;
		int rc = stop_wait(tid, &status, timeout_ms);

		if (rc < 0 || stop_is_syscall(status))
			return rc;
		if (ptrace(PTRACE_SYSCALL, tid, NULL, stop_is_event(status) ? 0 : WSTOPSIG(status)) < 0)
			return -ESRCH;
	}
}

int stop_wait_either(pid_t tid)
{
	for (;;) {
		int status;
		int rc = stop_wait(tid, &status, -1);

		if (rc < 0 || stop_is_syscall(status))
			return rc;
		if (stop_is_event(status))
			return -ETIMEDOUT;
		if (ptrace(PTRACE_SYSCALL, tid, NULL, WSTOPSIG(status)) < 0)
			return -ESRCH;
	}
}
