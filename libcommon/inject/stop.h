/* SPDX-License-Identifier: MIT */
/* Threads that are stopped: seizing them, waiting for them, and what is kept of one. */
#pragma once

#include <signal.h>

#include "inject/arch/arch.h"
#include "inject/inject.h"
#include "proc/stat.h"

#define STARVED_US  2000000 /* for a thread that only waits for a processor, when there is no other */
#define ALL_SIGNALS UINT64_MAX

/* What -EALREADY of stop_seize stands for. */
#define STOP_HELD "another tool of this project has its threads stopped"

/*
 * Seizes a thread. Returns 0, -EALREADY (another tool of this project traces it, for a moment), -EPERM (another process
 * does, or we must not), -ESRCH (it has ended or ends). Source: kernel/ptrace.c, ptrace_attach: EPERM stands for all of
 * these.
 */
int stop_seize(const struct inject *inject, pid_t tid, unsigned long options);

/*
 * Seizes a thread and waits until it stops. Returns 0, -ETIMEDOUT (it is to linger), -ENOTSUP (seccomp), or as
 * stop_seize.
 */
int inject_seize(struct inject *inject, pid_t tid);

/* Threads that were seized and did not stop in time: to be let go when they do. */
void inject_linger(struct inject *inject, pid_t tid);
bool inject_lingers(const struct inject *inject, pid_t tid);

/* What is kept of a stopped thread, and where it stands. */
struct inject_stop {
	struct arch_regs first; /* as it will go on */
	struct arch_regs now;   /* the last registers we gave it */
	uint64_t sigmask;
	sigset_t our_sigmask; /* this thread's own, while SIGCHLD is blocked */
	uint64_t since_us;
	uint64_t frame; /* address in the target */
	struct region rseq;
	bool entered;             /* at the entry stop of a call */
	bool moved;               /* its registers are not its own */
	struct inject_thaw *thaw; /* when the target was frozen */
	unsigned int waits_in_vain;
};

/*
 * Looks for a change that comes soon where the thread has a processor of its own. Where it shares ours, it cannot run
 * while we look: so from then on we leave that to the waiting, which sleeps.
 */
void stop_poll(struct inject *inject, pid_t tid);

/*
 * Waits for a change of a seized thread. Returns 0 with *status, -ETIMEDOUT, or -ESRCH (it has ended, and is reaped).
 * timeout_ms < 0: without end.
 */
int stop_wait(pid_t tid, int *status, int timeout_ms);

/*
 * Waits for the stop of a PTRACE_INTERRUPT; signals that come first go to the program, as they would have. Returns as
 * stop_wait.
 */
int stop_wait_interrupted(pid_t tid, int timeout_ms);

/*
 * Waits for a system call stop; a group stop in between (SIGSTOP cannot be blocked) takes effect after we have let go.
 * Returns as stop_wait.
 */
int stop_wait_syscall(pid_t tid, int timeout_ms);

/*
 * Waits for a thread that was sent to a system call and interrupted meanwhile: for whichever comes first. Were the
 * entry taken for the interruption, the call would be made behind our back. Returns 0 at the entry of the call (the
 * interruption then shows behind it), -ETIMEDOUT when it was interrupted before, or -ESRCH.
 */
int stop_wait_either(pid_t tid);

/* Which stop a wait status tells of: PTRACE_EVENT_STOP, a system call's entry or exit. */
bool stop_is_event(int status);
bool stop_is_syscall(int status);

/* Lets a thread go that was stopped and not used. Its call was interrupted all the same, and must not show that. */
void stop_let_go(pid_t tid, int signal);

/*
 * Where a thread stands: one that runs is stopped for a moment, and no other may be stopped by us then. Returns 0,
 * -ETIMEDOUT (it does not stop), or as stop_seize.
 */
int inject_place(struct inject *inject, pid_t tid, struct place *place);

/* Forgets the thread that serves: it died in our hands, or will go home by itself. Returns -ESRCH. */
int inject_lost(struct inject *inject);
