/* SPDX-License-Identifier: MIT */
#include "service/service.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "proc/stat.h"

#define PROTECTED "-1000" /* proc_pid_oom_score_adj(5) */

/* All that could end a process of the session, or a system call that it depends on. */
static const int resources[] = {RLIMIT_NOFILE,  RLIMIT_FSIZE, RLIMIT_AS,  RLIMIT_DATA,
				RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_CPU, RLIMIT_SIGPENDING};

/* As service_begin found them. */
static struct rlimit before[ARRAY_SIZE(resources)];
static struct rlimit core_before;
static char oom_before[16];
static bool begun;

/* The kernel refuses more descriptors than this, even to the superuser. */
static rlim_t descriptors_max(void)
{
	uint64_t number;

	return fd_read_number_at(AT_FDCWD, "/proc/sys/fs/nr_open", 10, &number) == 0 ? number : 1048576;
}

static void raise_limits(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		rlim_t most = resources[i] == RLIMIT_NOFILE ? descriptors_max() : RLIM_INFINITY;

		if (getrlimit(resources[i], &before[i]) < 0)
			continue;
		if (setrlimit(resources[i], &(struct rlimit){most, most}) < 0)
			setrlimit(resources[i], &(struct rlimit){before[i].rlim_max, before[i].rlim_max});
	}
	getrlimit(RLIMIT_CORE, &core_before);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, core_before.rlim_max});
}

/* By the system call itself: sigaction(3) refuses the two signals that the C library keeps for its threads. */
static void reset_signals(const sigset_t *blocked)
{
	const struct {
		uint64_t handler, flags, restorer, mask; /* as rt_sigaction(2) has it */
	} by_default = {0};

	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, &by_default, NULL, sizeof(by_default.mask));
	/* System calls fail instead. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigprocmask(SIG_SETMASK, blocked, NULL);
}

static void write_oom(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	if (file) {
		fputs(text, file);
		fclose(file);
	}
}

static void *no_work(void *argument)
{
	return argument;
}

/*
 * The C library binds what it takes to use a thread's stack again when it first does so, and for that reads the symbol
 * tables of all libraries. They are needed for nothing else, and would stay in memory.
 */
static void use_a_stack_again(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN));
	for (int i = 0; i < 2; i++)
		if (pthread_create(&thread, &attributes, no_work, NULL) == 0)
			pthread_join(thread, NULL);
	pthread_attr_destroy(&attributes);
}

void service_begin(const sigset_t *blocked)
{
	if (!begun) { /* otherwise it has them from the process that it was copied from */
		proc_file_read(getpid(), "oom_score_adj", oom_before, sizeof(oom_before));
		write_oom("/proc/self/oom_score_adj", PROTECTED);
		raise_limits();
	}
	begun = true;
	reset_signals(blocked);
	setsid();
	use_a_stack_again();
}

void service_release(pid_t pid)
{
	char path[64];

	if (!begun)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
		prlimit(pid, (__rlimit_resource_t)resources[i], &before[i], NULL);
	prlimit(pid, RLIMIT_CORE, &core_before, NULL);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	write_oom(path, oom_before);
}
