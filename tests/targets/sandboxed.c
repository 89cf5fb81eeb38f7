/* SPDX-License-Identifier: MIT */
/*
 * A program that may not do much: sandboxed MODE BYTES.
 *
 *	eperm, kill	its seccomp filter lets it read, write and end, and nothing else
 *	late		as kill, but it puts its filter on at the second line
 *	mdwe		PR_SET_MDWE, after the last quarter of its memory was made executable
 *	filtered	what is writable cannot become executable by its seccomp filter
 *
 * Every line on standard input makes it verify its memory and answer "ok" or "wrong". Prints "ready START END".
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Refuses a call whose argument has all of these bits. */
#define REFUSE(call, argument, bits)                                                                        \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),                              \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 4),                                      \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[argument])),          \
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bits, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

static void install(struct sock_filter *filter, size_t bytes)
{
	struct sock_fprog program = {(unsigned short)(bytes / sizeof(*filter)), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void forbid_execution(void)
{
	struct sock_filter filter[] = {
		REFUSE(mmap, 2, PROT_WRITE | PROT_EXEC),      REFUSE(mprotect, 2, PROT_EXEC),
		REFUSE(pkey_mprotect, 2, PROT_EXEC),          REFUSE(shmat, 2, SHM_EXEC),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(filter, sizeof(filter));
}

static void confine(unsigned int otherwise)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(exit_group),
		ALLOW(restart_syscall),
		ALLOW(rt_sigreturn),
		BPF_STMT(BPF_RET | BPF_K, otherwise),
	};

	install(filter, sizeof(filter));
}

static void restrict_self(const char *mode, char *at, size_t bytes)
{
	if (!strcmp(mode, "mdwe")) {
		if (mprotect(at + bytes / 4 * 3, bytes / 4, PROT_READ | PROT_WRITE | PROT_EXEC))
			die("mprotect");
		if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
			die("PR_SET_MDWE");
	} else if (!strcmp(mode, "filtered")) {
		forbid_execution();
	} else if (strcmp(mode, "late")) {
		confine(strcmp(mode, "kill") ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS);
	}
}

int main(int argc, char **argv)
{
	const struct pattern pattern = {"mixed", 13};
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	char *at = bytes ? map_aligned(bytes) : NULL, text[80], byte;
	int length, lines = 0;

	if (!at)
		return 2;
	pattern_fill(at, bytes, &pattern);
	length = snprintf(text, sizeof(text), "ready %lx %lx\n", (unsigned long)at, (unsigned long)(at + bytes));
	restrict_self(argv[1], at, bytes);
	if (write(1, text, (size_t)length) != length)
		return 1;
	while (read(0, &byte, 1) == 1) {
		const char *answer = pattern_wrong(at, bytes, &pattern) ? "wrong\n" : "ok\n";

		if (byte == '\n' && ++lines == 2 && !strcmp(argv[1], "late"))
			confine(SECCOMP_RET_KILL_PROCESS);
		if (byte == '\n' && write(1, answer, strlen(answer)) < 0)
			return 1;
	}
	return 0;
}
