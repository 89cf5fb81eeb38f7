/* SPDX-License-Identifier: MIT */
/*
 * Seccomp filters. What is not listed fails with EPERM, and kills nobody: the process serves another one. Listed is
 * freely what changes nothing but the process itself and the descriptors it has.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/filter.h"
#include "confine/confine.h"

/* Descriptors that are open, memory, time, threads, signals: also what only the C library calls. */
static const char harmless[] =
	"read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 close close_range lseek dup dup2 "
	"dup3 fcntl ioctl poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 "
	"eventfd2 signalfd4 timerfd_create timerfd_settime timerfd_gettime pipe pipe2 fstat newfstatat stat lstat "
	"statx fstatfs "
	"fsync fdatasync sync_file_range fallocate ftruncate fadvise64 flock memfd_create getdents64 sendfile splice "
	"copy_file_range "
	"brk mmap munmap mremap mprotect madvise mincore mlock mlock2 mlockall munlock munlockall msync membarrier "
	"clock_gettime clock_getres clock_nanosleep gettimeofday time times nanosleep alarm setitimer getitimer "
	"timer_create timer_settime timer_gettime timer_delete "
	"futex futex_waitv set_robust_list get_robust_list rseq set_tid_address arch_prctl sched_yield "
	"sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_getscheduler "
	"sched_setscheduler getcpu "
	"getpriority setpriority "
	"rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause "
	"restart_syscall kill tkill tgkill pidfd_send_signal "
	"getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp getsid "
	"getrandom getrlimit setrlimit prlimit64 getrusage sysinfo uname umask getcwd capget capset prctl seccomp exit "
	"exit_group";

/* The target and what is known of it, the next worker, clients, the session's files when it ends. */
static const char serving[] =
	"ptrace process_vm_readv pidfd_open pidfd_getfd kcmp fork vfork clone3 wait4 waitid setsid access faccessat "
	"faccessat2 readlink readlinkat getdents statfs unlink unlinkat rmdir mkdirat socketpair connect bind listen "
	"accept accept4 getsockopt setsockopt getsockname getpeername sendto sendmsg recvfrom recvmsg shutdown";

/* Where tests have a process die, hang and try things, it leaves directories as marks. */
#ifdef UVM_FAILPOINTS
static const char testing[] = "mkdir access faccessat2";
#else
static const char testing[] = "";
#endif

#define WRITES (O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))
#define SPACES \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)

/* The rules of a filter that is being made; the first failure stays. */
struct rules {
	scmp_filter_ctx filter;
	int rc;
};

/* Calls that libseccomp or this machine does not know are no loss. */
static int number_of(const char *call)
{
	return seccomp_syscall_resolve_name(call);
}

static void allow_call(struct rules *rules, const char *call, unsigned int count, const struct scmp_arg_cmp *conditions)
{
	int number = number_of(call);

	if (number >= 0 && rules->rc == 0)
		rules->rc = seccomp_rule_add_array(rules->filter, SCMP_ACT_ALLOW, number, count, conditions);
}

/* Names with a space between them. */
static void allow_all(struct rules *rules, const char *names)
{
	char name[32];

	for (; *names; names += strspn(names, " ")) {
		size_t length = strcspn(names, " ");

		snprintf(name, sizeof(name), "%.*s", (int)length, names);
		allow_call(rules, name, 0, NULL);
		names += length;
	}
}

static void allow_if(struct rules *rules, const char *call, unsigned int argument, uint64_t mask, uint64_t value)
{
	allow_call(rules, call, 1, (struct scmp_arg_cmp[]){SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value)});
}

/* Everything may be opened for reading, with opens_memory also for writing to what is there, and `written` by their
 * pointers. */
static void allow_opening(struct rules *rules, const struct confine_calls *calls)
{
	uint64_t mask = calls->opens_memory ? WRITES & ~O_RDWR : WRITES;

	allow_if(rules, "openat", 2, mask, O_RDONLY);
	allow_if(rules, "open", 1, mask, O_RDONLY);
	for (const char *const *path = calls->written; path && *path; path++)
		allow_call(rules, "openat", 2,
			   (struct scmp_arg_cmp[]){SCMP_CMP(1, SCMP_CMP_EQ, (uintptr_t)*path, 0),
						   SCMP_CMP(2, SCMP_CMP_MASKED_EQ, WRITES & ~O_ACCMODE, 0)});
}

static void allow_serving(struct rules *rules, const struct confine_calls *calls)
{
	allow_all(rules, serving);
	allow_opening(rules, calls);
	allow_if(rules, "clone", 0, SPACES, 0);
	allow_if(rules, "setns", 1, UINT32_MAX, CLONE_NEWNET);
	allow_if(rules, "socket", 0, UINT32_MAX, AF_UNIX);
	allow_if(rules, "socket", 0, UINT32_MAX, AF_NETLINK);
}

int confine_filter_make(struct sock_fprog *program, const struct confine_calls *calls)
{
	struct rules rules = {.filter = seccomp_init(SCMP_ACT_ERRNO(EPERM))};

	*program = (struct sock_fprog){0};
	if (!rules.filter)
		return -ENOMEM;
	rules.rc = seccomp_attr_set(rules.filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
	seccomp_attr_set(rules.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	allow_all(&rules, harmless);
	allow_all(&rules, testing);
	if (calls->serves)
		allow_serving(&rules, calls);
	if (rules.rc == 0)
		rules.rc = filter_program(rules.filter, program);
	seccomp_release(rules.filter);
	return rules.rc;
}

/*
 * The flags of clone3(2) cannot be inspected: the C library does with clone(2) when there is none. In a filter of its
 * own, for each thread that is made would be a line in the kernel's log.
 */
static int without_clone3(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_SIZE(code), code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

int confine_filter_put_on(const struct sock_fprog *program)
{
	int rc = program->len ? without_clone3() : -ENOENT;

	/* Logged since Linux 4.14. */
	if (rc < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, program) == 0)
		return rc;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) < 0 ? -errno : 0;
}

void confine_filter_free(struct sock_fprog *program)
{
	free(program->filter);
	*program = (struct sock_fprog){0};
}
