/*
 * A program whose seccomp filter lets it read, write and end, and nothing else: sandboxed eperm|kill BYTES. Every line
 * on standard input makes it verify its memory and answer "ok" or "wrong". Prints "ready START END".
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

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
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

int main(int argc, char **argv)
{
	const struct pattern pattern = {"mixed", 13};
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	char *at = bytes ? map_aligned(bytes) : NULL, text[80], byte;
	int length;

	if (!at)
		return 2;
	pattern_fill(at, bytes, &pattern);
	length = snprintf(text, sizeof(text), "ready %lx %lx\n", (unsigned long)at, (unsigned long)(at + bytes));
	confine(strcmp(argv[1], "kill") ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS);
	if (write(1, text, (size_t)length) != length)
		return 1;
	while (read(0, &byte, 1) == 1) {
		const char *answer = pattern_wrong(at, bytes, &pattern) ? "wrong\n" : "ok\n";

		if (byte == '\n' && write(1, answer, strlen(answer)) < 0)
			return 1;
	}
	return 0;
}
