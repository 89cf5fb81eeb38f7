/* SPDX-License-Identifier: MIT */
/* x86-64: registers, the trampoline, and how interrupted system calls are restarted (arch/x86/kernel/signal.c). */
#include "inject/arch/arch.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Kernel-internal errors that a tracer sees (include/linux/errno.h). */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

#define SYSCALL_LENGTH 2
#define USER_CS        0x33

/* Eighteen registers in the order in which the way back pops them, ended by what iretq takes. */
struct frame {
	uint64_t sigmask;
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	struct {
		uint64_t rip, cs, eflags, rsp, ss;
	} back;
};

int arch_get_regs(pid_t tid, struct arch_regs *regs)
{
	return ptrace(PTRACE_GETREGS, tid, NULL, &regs->user) < 0 ? -errno : 0;
}

int arch_set_regs(pid_t tid, const struct arch_regs *regs)
{
	return ptrace(PTRACE_SETREGS, tid, NULL, &regs->user) < 0 ? -errno : 0;
}

bool arch_native(const struct arch_regs *regs)
{
	return regs->user.cs == USER_CS;
}

uint64_t arch_ip(const struct arch_regs *regs)
{
	return regs->user.rip;
}

uint64_t arch_sp(const struct arch_regs *regs)
{
	return regs->user.rsp;
}

void arch_set_ip(struct arch_regs *regs, uint64_t ip)
{
	regs->user.rip = ip;
	regs->user.orig_rax = (unsigned long long)-1;
}

bool arch_in_call(const struct arch_regs *regs)
{
	return (long long)regs->user.orig_rax >= 0;
}

void arch_restart(struct arch_regs *regs)
{
	regs->user.rax = (unsigned long long)-ERESTARTNOHAND;
}

bool arch_restarts_anew(const struct arch_regs *regs)
{
	return arch_in_call(regs) && (long long)regs->user.rax == -ERESTARTNOHAND;
}

static unsigned long long *argument_register(struct user_regs_struct *user, unsigned int i)
{
	unsigned long long *registers[] = {&user->rdi, &user->rsi, &user->rdx, &user->r10, &user->r8, &user->r9};

	return registers[i];
}

uint64_t arch_argument(const struct arch_regs *regs, unsigned int i)
{
	struct user_regs_struct user = regs->user;

	return *argument_register(&user, i);
}

void arch_set_argument(struct arch_regs *regs, unsigned int i, uint64_t value)
{
	*argument_register(&regs->user, i) = value;
}

void arch_set_result(struct arch_regs *regs, int64_t result)
{
	regs->user.rax = (unsigned long long)result;
}

/*
 * entry_SYSCALL_64 of arch/x86/entry/entry_64.S keeps all of rax in orig_rax and takes its lower half as the number;
 * a restart puts all of it back.
 */
uint32_t arch_mark(const struct arch_regs *regs)
{
	return arch_in_call(regs) ? (uint32_t)(regs->user.orig_rax >> 32) : 0;
}

void arch_set_mark(struct arch_regs *regs, uint32_t mark)
{
	regs->user.orig_rax = (uint32_t)regs->user.orig_rax | (uint64_t)mark << 32;
}

void arch_hide_mark(void *general, size_t bytes)
{
	struct user_regs_struct *user = general;

	if (bytes == sizeof(*user) && (long long)user->orig_rax >= 0)
		user->orig_rax = (uint32_t)user->orig_rax;
}

bool arch_keeps_mark(void)
{
	static int keeps = -1;

	if (keeps < 0) {
		long result;

		__asm__ volatile("syscall" : "=a"(result) : "a"((long)SYS_gettid | 1L << 32) : "rcx", "r11", "memory");
		keeps = result == gettid();
	}
	return keeps;
}

void arch_call(struct arch_regs *regs, uint64_t insn, uint64_t frame, long number, const uint64_t arguments[6])
{
	regs->user.rip = insn;
	regs->user.rax = (unsigned long long)number;
	regs->user.orig_rax = (unsigned long long)-1;
	regs->user.rdi = arguments[0];
	regs->user.rsi = arguments[1];
	regs->user.rdx = arguments[2];
	regs->user.r10 = arguments[3];
	regs->user.r8 = arguments[4];
	regs->user.r9 = arguments[5];
	regs->user.rbx = frame; /* kept by the kernel across the call; the way back begins with it */
}

void arch_set_number(struct arch_regs *regs, long number)
{
	regs->user.rax = (unsigned long long)number;
	regs->user.orig_rax = (unsigned long long)-1;
}

int arch_skip(pid_t tid)
{
	struct arch_regs regs;
	int rc = arch_get_regs(tid, &regs);

	if (rc < 0)
		return rc;
	regs.user.orig_rax = (unsigned long long)-1;
	return arch_set_regs(tid, &regs);
}

int64_t arch_result(const struct arch_regs *regs)
{
	return (int64_t)regs->user.rax;
}

long arch_number(const struct arch_regs *regs)
{
	return (int)regs->user.orig_rax;
}

ptrdiff_t arch_find_syscall(const unsigned char *code, size_t size)
{
	const unsigned char *found = memmem(code, size, "\x0f\x05", SYSCALL_LENGTH);

	return found ? found - code : -1;
}

/*
 * rbx: the frame. The stack pointer stays the program's until the mask is back, because a signal may be delivered
 * there; the pops run on the frame, below which there is room for one more.
 */
/* clang-format off */
static const unsigned char TRAMPOLINE[] = {
	0x0f, 0x05,		      /* syscall */
	0xb8, SYS_rt_sigprocmask, 0, 0, 0, /* mov $__NR_rt_sigprocmask, %eax */
	0xbf, 2, 0, 0, 0,	      /* mov $SIG_SETMASK, %edi */
	0x48, 0x89, 0xde,	      /* mov %rbx, %rsi: the mask is the frame's first word */
	0x31, 0xd2,		      /* xor %edx, %edx */
	0x41, 0xba, 8, 0, 0, 0,	      /* mov $8, %r10d */
	0x0f, 0x05,		      /* syscall */
	0x48, 0x8d, 0x63, 8,	      /* lea 8(%rbx), %rsp */
	0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, /* pop %r15, %r14, %r13, %r12 */
	0x5d, 0x5b,				      /* pop %rbp, %rbx */
	0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, /* pop %r11, %r10, %r9, %r8 */
	0x58, 0x59, 0x5a, 0x5e, 0x5f,		      /* pop %rax, %rcx, %rdx, %rsi, %rdi */
	0x48, 0xcf,				      /* iretq */
};
/* clang-format on */

const unsigned char *arch_trampoline(size_t *size)
{
	*size = sizeof(TRAMPOLINE);
	return TRAMPOLINE;
}

/* What the kernel would do on leaving the stop when no handler is to run. */
static void restart_call(struct user_regs_struct *user)
{
	if ((long long)user->orig_rax < 0)
		return;
	switch ((long long)user->rax) {
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
		user->rax = user->orig_rax;
		user->rip -= SYSCALL_LENGTH;
		break;
	case -ERESTART_RESTARTBLOCK:
		user->rax = SYS_restart_syscall;
		user->rip -= SYSCALL_LENGTH;
		break;
	default:
		break;
	}
}

uint64_t arch_frame(unsigned char frame[ARCH_FRAME], uint64_t address, const struct arch_regs *regs, uint64_t sigmask)
{
	struct user_regs_struct user = regs->user;
	struct frame *f = (struct frame *)(frame + ARCH_FRAME - sizeof(struct frame));

	restart_call(&user);
	*f = (struct frame){
		.sigmask = sigmask,
		.r15 = user.r15,
		.r14 = user.r14,
		.r13 = user.r13,
		.r12 = user.r12,
		.rbp = user.rbp,
		.rbx = user.rbx,
		.r11 = user.r11,
		.r10 = user.r10,
		.r9 = user.r9,
		.r8 = user.r8,
		.rax = user.rax,
		.rcx = user.rcx,
		.rdx = user.rdx,
		.rsi = user.rsi,
		.rdi = user.rdi,
		.back = {user.rip, user.cs, user.eflags, user.rsp, user.ss},
	};
	return address + ARCH_FRAME - sizeof(struct frame);
}
