/* SPDX-License-Identifier: MIT */
/*
 * Runs a program under a seccomp filter: probe_deny eperm|enosys|kill CALL[,CALL...] PROGRAM [ARGUMENT...]. CALL is
 * userfaultfd, device (the ioctl that makes a descriptor from /dev/userfaultfd), io_uring_setup, pidfd_getfd,
 * process_madvise or ptrace.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEW 0xaa00

static struct sock_filter program[32];
static unsigned short length;

static void add(struct sock_filter instruction)
{
	program[length++] = instruction;
}

static void load(size_t offset)
{
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned int)offset));
}

static void when(unsigned int value, unsigned char otherwise)
{
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, otherwise));
}

static void deny(const char *call, unsigned int verdict)
{
	static const struct {
		const char *name;
		unsigned int number;
	} calls[] = {
		{"userfaultfd", SYS_userfaultfd},         {"device", SYS_ioctl},
		{"io_uring_setup", SYS_io_uring_setup},   {"pidfd_getfd", SYS_pidfd_getfd},
		{"process_madvise", SYS_process_madvise}, {"ptrace", SYS_ptrace},
	};
	const struct sock_filter answer = BPF_STMT(BPF_RET | BPF_K, verdict);

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (strcmp(call, calls[i].name))
			continue;
		load(offsetof(struct seccomp_data, nr));
		if (calls[i].number == SYS_ioctl) {
			when(calls[i].number, 3);
			load(offsetof(struct seccomp_data, args[1]));
			when(NEW, 1);
		} else {
			when(calls[i].number, 1);
		}
		add(answer);
	}
}

int main(int argc, char **argv)
{
	struct sock_fprog filter = {.filter = program};
	unsigned int verdict = SECCOMP_RET_ERRNO | EPERM;

	if (argc < 4)
		return 2;
	if (!strcmp(argv[1], "enosys"))
		verdict = SECCOMP_RET_ERRNO | ENOSYS;
	else if (!strcmp(argv[1], "kill"))
		verdict = SECCOMP_RET_KILL_PROCESS;
	for (char *call = strtok(argv[2], ","); call; call = strtok(NULL, ","))
		deny(call, verdict);
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	filter.len = length;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("seccomp");
		return 1;
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}
