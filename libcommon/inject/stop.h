/* SPDX-License-Identifier: MIT */
/* What the files of this room share: the layout of the control area, and what is kept of a stopped thread. */
#pragma once

#include <signal.h>

#include "inject/arch/arch.h"
#include "inject/inject.h"

#define FRAMES 8 /* the last one is a puppet's */

/*
 * The control area: frames, scratch, a mark, trampoline, in this order. What lies before the trampoline is one mapping,
 * which becomes one with no other: MADV_DONTFORK.
 */
#define AREA_FRAMES (FRAMES * ARCH_FRAME)
#define AREA_MARK   (AREA_FRAMES + INJECT_SCRATCH)
#define AREA_DATA   (AREA_MARK + 4096)

/* Whether the code at an address of a target (its /proc/PID/mem) is the trampoline of a control area. */
bool inject_is_trampoline(int mem_fd, uint64_t address);

/*
 * Whether the control area is as it was made. The program may have mapped something over it. Returns 0, -EADDRINUSE
 * when it is not ours any more, or -ESTALE when its memory is gone.
 */
int inject_check_area(const struct inject *inject);

/* The same, quickly, of the trampoline alone. */
int inject_check_trampoline(const struct inject *inject);

/* Names a mapping "uvmtools": a courtesy, where the kernel can (CONFIG_ANON_VMA_NAME). A thread is stopped. */
void inject_name(struct inject *inject, struct region region);

/*
 * Writes code where the stopped thread may execute but not write; what follows it up to a whole word becomes zeros.
 * Returns 0 or -errno. Source: ptrace(2), PTRACE_POKETEXT; unlike /proc/PID/mem not subject to proc_mem.force_override.
 */
int inject_write_code(struct inject *inject, uint64_t address, const unsigned char *code, size_t bytes);

/* What -EALREADY of stop_seize stands for. */
#define STOP_HELD "another tool of this project has its threads stopped"

/*
 * Seizes a thread. Returns 0, -EALREADY (another tool of this project traces it, for a moment), -EPERM (somebody else
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

/* Size of the control area. */
uint64_t inject_area_bytes(void);

/*
 * Before the control area is there, and when it goes: a trampoline and the frame of the stopped thread in unused bytes
 * of the vdso (a private copy of its page; the kernel lets a debugger write there). Returns 0, or a negative number
 * when there is no room or no permission: calls then go through an instruction of the program, without a way back.
 */
int inject_cave_take(struct inject *inject);

/* After inject_end, which takes the thread from there. */
void inject_cave_leave(struct inject *inject);

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
void stop_look(struct inject *inject, pid_t tid);

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

/* Forgets the thread that serves: it died in our hands, or will go home by itself. Returns -ESRCH. */
int inject_lost(struct inject *inject);
