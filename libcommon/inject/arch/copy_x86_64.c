/* SPDX-License-Identifier: MIT */
/* x86-64: the code that a thread runs to leave a copy of its process behind, and that the copy then stays in. */
#include <asm/unistd.h>
#include <linux/close_range.h>
#include <stddef.h>

#include "inject/arch/arch.h"

#define WALL  0x40000000 /* __WALL, SIGCHLD, PR_SET_NAME, EAGAIN, EINTR: as the assembler reads them */
#define CHILD 17
#define NAME  15
#define AGAIN 11
#define INTR  4

#define TEXT__(x) #x
#define TEXT_(x)  TEXT__(x)
#define TEXT(x)   "$" TEXT_(x)
#define CALL(n)   "mov " TEXT(n) ", %eax\n syscall\n"

/* Offsets in struct arch_copy, which r12 points to. */
#define FLAGS    "0(%r12)"
#define WAITED   "8(%r12)"
#define RESULT   "16(%r12)"
#define HOME     "24(%r12)"
#define LEFT     "32(%r12)"
#define TICK     "40(%r12)"
#define ENDING   "56(%r12)"
#define REPEATED "64(%r12)"
#define EPOLL    "72(%r12)"
#define EVENT    "80(%r12)"
#define NAMED    "96(%r12)"
_Static_assert(offsetof(struct arch_copy, waited) == 8 && offsetof(struct arch_copy, result) == 16 &&
		       offsetof(struct arch_copy, home) == 24 && offsetof(struct arch_copy, left) == 32 &&
		       offsetof(struct arch_copy, tick) == 40 && offsetof(struct arch_copy, ending) == 56 &&
		       offsetof(struct arch_copy, again) == 64 && offsetof(struct arch_copy, epoll) == 72 &&
		       offsetof(struct arch_copy, event) == 80 && offsetof(struct arch_copy, name) == 96,
	       "the code below knows these");

extern const unsigned char copy_code[] __attribute__((visibility("hidden")));
extern const unsigned char copy_code_poll[] __attribute__((visibility("hidden")));
extern const unsigned char copy_code_end[] __attribute__((visibility("hidden")));

/*
 * No stack is used: the process in the middle shares all memory with the thread. rbx, r12 and r13 outlast system calls.
 */
/* clang-format off */
__asm__(".pushsection .rodata\n"
	"copy_code:\n"
	"	mov " FLAGS ", %rdi\n"
	"	xor %esi, %esi\n	xor %edx, %edx\n	xor %r10d, %r10d\n	xor %r8d, %r8d\n"
		CALL(__NR_clone)
	"	test %rax, %rax\n"
	"	jz 3f\n"
	"	js 1f\n"
	"	cmpq $0, " WAITED "\n"
	"	je 1f\n"
	"	mov %rax, %r13\n"
	"0:	mov %r13, %rdi\n"
	"	xor %esi, %esi\n	mov " TEXT(WALL) ", %edx\n	xor %r10d, %r10d\n"
		CALL(__NR_wait4)
	"	cmp $-" TEXT_(INTR) ", %rax\n"
	"	je 0b\n"
	"	jmp 2f\n"
	"1:	mov %rax, " RESULT "\n"
	"2:	mov " TEXT(__NR_getpid) ", %eax\n"
	"	jmp *" HOME "\n"

	/* The new process. The one in the middle, whose parent waits for it, makes the one that stays. */
	"3:"	CALL(__NR_setsid)
	"	cmpq $0, " WAITED "\n"
	"	je 5f\n"
	"	mov " REPEATED ", %rdi\n	or " TEXT(CHILD) ", %rdi\n"
	"	xor %esi, %esi\n	xor %edx, %edx\n	xor %r10d, %r10d\n	xor %r8d, %r8d\n"
		CALL(__NR_clone)
	"	test %rax, %rax\n"
	"	jz 5f\n"
	"4:	mov %rax, " RESULT "\n"
	"	jmp 7f\n"

	/*
	 * What stays has the program's files no more. The table was shared: of a copy all would be closed, which may be
	 * seen (POSIX locks go), and may take as long as a file system's server likes. The kernel copies and closes the
	 * first 64 all the same (fs/file.c, sane_fdtable_size), which is why nobody waits for it here.
	 */
	"5:	xor %edi, %edi\n	mov $-1, %esi\n	mov " TEXT(2) ", %edx\n"
		CALL(__NR_close_range)
	"	test %rax, %rax\n"
	"	js 7f\n"
	/* A signal or an error ends it, the end of a tick is counted. */
	"	mov " TEXT(NAME) ", %edi\n	lea " NAMED ", %rsi\n"
		CALL(__NR_prctl)
	"6:	subq $1, " LEFT "\n"
	"	jb 7f\n"
	"8:	lea " ENDING ", %rdi\n	xor %esi, %esi\n	lea " TICK ", %rdx\n	mov $8, %r10d\n"
		CALL(__NR_rt_sigtimedwait)
	"	cmp $-" TEXT_(AGAIN) ", %rax\n"
	"	je 6b\n"
	"	cmp $-" TEXT_(INTR) ", %rax\n"
	"	je 8b\n"
	"7:	xor %edi, %edi\n"
		CALL(__NR_exit_group)
	"	ud2\n"
	"copy_code_poll:\n"
	"	mov " EPOLL ", %rdi\n	lea " EVENT ", %rsi\n	mov $1, %edx\n	mov $-1, %r10\n"
		CALL(__NR_epoll_wait)
	"	cmp $-" TEXT_(INTR) ", %rax\n"
	"	je copy_code_poll\n"
	"	jmp 7b\n"
	"copy_code_end:\n"
	".popsection\n");
/* clang-format on */
_Static_assert(CLOSE_RANGE_UNSHARE == 2, "the code above knows this");

const unsigned char *arch_copy_code(size_t *size)
{
	*size = (size_t)(copy_code_end - copy_code);
	return copy_code;
}

void arch_copy_call(struct arch_regs *regs, uint64_t code, uint64_t frame, uint64_t data)
{
	arch_call(regs, code, frame, 0, (uint64_t[6]){0});
	regs->user.r12 = data;
}

void arch_copy_poll(struct arch_regs *regs, uint64_t code, uint64_t data)
{
	arch_set_ip(regs, code + (uint64_t)(copy_code_poll - copy_code));
	regs->user.r12 = data;
	regs->user.rsp = data + 2048; /* it uses none, and shall not have the program's */
}
