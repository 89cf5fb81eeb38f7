/* SPDX-License-Identifier: MIT */
/* What injection needs to know of a machine; one file an architecture implements it. */
#pragma once

#include <elf.h>
#include <linux/audit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#if defined(__x86_64__)
struct arch_regs {
	struct user_regs_struct user;
};
#define ARCH_AUDIT AUDIT_ARCH_X86_64
/* What a core file tells of a thread (PTRACE_GETREGSET); the general registers first. */
#define ARCH_REGSETS                                   \
	{                                              \
		NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE \
	}
#elif defined(__aarch64__)
struct arch_regs {
	struct user_regs_struct user;
	int syscall; /* NT_ARM_SYSTEM_CALL: the call the thread is in, -1 for none */
};
#define ARCH_AUDIT AUDIT_ARCH_AARCH64
#define ARCH_REGSETS                                \
	{                                           \
		NT_PRSTATUS, NT_PRFPREG, NT_ARM_TLS \
	}
#else
#error "no injection for this architecture yet: write libcommon/inject/arch/<machine>.c"
#endif

#define ARCH_REGSETS_COUNT 3

#define ARCH_FRAME 8192 /* bytes reserved for a frame, stack room below it included */

/* Reads or writes all registers of a stopped thread. Returns 0 or -errno. */
int arch_get_regs(pid_t tid, struct arch_regs *regs);
int arch_set_regs(pid_t tid, const struct arch_regs *regs);

/* Whether the thread runs this program's instruction set and mode. */
bool arch_native(const struct arch_regs *regs);

/* Instruction and stack pointer. */
uint64_t arch_ip(const struct arch_regs *regs);
uint64_t arch_sp(const struct arch_regs *regs);
void arch_set_ip(struct arch_regs *regs, uint64_t ip);

/* In a stop that is not a system call's: whether the thread is in a system call all the same, and not before one. */
bool arch_in_call(const struct arch_regs *regs);

/* Makes that call be made again when the thread goes on, or fail with EINTR if a handler runs first. */
void arch_restart(struct arch_regs *regs);

/* Whether the kernel is about to do that by itself. */
bool arch_restarts_anew(const struct arch_regs *regs);

/* An argument of that call, from 0; what it returns, or the kernel's own number for a restart. */
uint64_t arch_argument(const struct arch_regs *regs, unsigned int i);
void arch_set_argument(struct arch_regs *regs, unsigned int i, uint64_t value);
void arch_set_result(struct arch_regs *regs, int64_t result);

/*
 * A number below 2^31 that stays with a call for as long as it is restarted, and that its program never sees; 0: none.
 * Only where the kernel reads half of the register that the number of the call is in (Linux 5.14).
 */
uint32_t arch_mark(const struct arch_regs *regs);
void arch_set_mark(struct arch_regs *regs, uint32_t mark);
bool arch_keeps_mark(void);

/* Takes it out of general registers as PTRACE_GETREGSET gives them. */
void arch_hide_mark(void *general, size_t bytes);

/* Registers for one system call at instruction `insn`; `frame` is where the way back lies (0 for none). */
void arch_call(struct arch_regs *regs, uint64_t insn, uint64_t frame, long number, const uint64_t arguments[6]);

/* For a thread that stands before its system call instruction: another call instead, with the same arguments. */
void arch_set_number(struct arch_regs *regs, long number);

/* At a system call's entry stop: makes the kernel skip the call. Returns 0 or -errno. */
int arch_skip(pid_t tid);

/* The result of the call at its exit stop, or of an interrupted one. */
int64_t arch_result(const struct arch_regs *regs);

/* Number of the call that the thread stands at the entry of, or in. */
long arch_number(const struct arch_regs *regs);

/* Offset of a system call instruction in code, or -1. */
ptrdiff_t arch_find_syscall(const unsigned char *code, size_t size);

/* The trampoline: the system call instruction first, the way back behind it. Returns its bytes and sets *size. */
const unsigned char *arch_trampoline(size_t *size);

/*
 * Writes into frame[ARCH_FRAME] what the way back needs to resume `regs` (a system call that was interrupted is
 * restarted) with `sigmask`. `address` is where the frame will lie in the target. Returns the address to hand to
 * arch_call.
 */
uint64_t arch_frame(unsigned char frame[ARCH_FRAME], uint64_t address, const struct arch_regs *regs, uint64_t sigmask);

/*
 * The code of a copy: position independent, it lies in a page of its own with this behind it, on the next page. The
 * thread that is sent there clones itself with `flags`. The new process takes a session of its own; then it clones
 * itself as a child of its own, with `again` beside SIGCHLD, and ends (`waited`: the thread waits for that), or stays.
 * What stays takes an empty table of descriptors, and the name, and waits `left` times for `tick` or for a signal of
 * `ending`; then it ends too. It has no way back. The thread goes to `home` with getpid as the call to make. All this
 * needs no tracer.
 *
 * One that is sent to arch_copy_poll waits for the epoll instance `epoll`, and ends. What it waits in writes nothing
 * before that.
 */
struct arch_copy {
	uint64_t flags;
	uint64_t waited; /* bool */
	int64_t result;  /* pid of the copy as the target sees it, or a negative errno */
	uint64_t home;
	uint64_t left;
	uint64_t tick[2]; /* struct timespec */
	uint64_t ending;  /* set of signals */
	uint64_t again;
	int64_t epoll;
	unsigned char event[16]; /* struct epoll_event */
	char name[16];
};

/* The code that copies and puppets run, one page at most. */
const unsigned char *arch_copy_code(size_t *size);

/* Registers for a thread that is to run it; `frame` as in arch_call. */
void arch_copy_call(struct arch_regs *regs, uint64_t code, uint64_t frame, uint64_t data);

/* Registers for one that stays: to wait for `epoll`. */
void arch_copy_poll(struct arch_regs *regs, uint64_t code, uint64_t data);
