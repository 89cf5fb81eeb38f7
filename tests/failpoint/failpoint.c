/* SPDX-License-Identifier: MIT */
/* Points at which a worker of a test build can be told to die, or to take its time. */

#ifdef UVM_FAILPOINTS

#include "service/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PAUSE_POLL_MS 10

static void pause_for(unsigned long ms)
{
	const char *mark = getenv("UVM_PAUSE_MARK");
	char reached[PATH_MAX];

	if (mark && snprintf(reached, sizeof(reached), "%s.reached", mark) < (int)sizeof(reached))
		mkdir(reached, 0700);
	for (; mark && ms > PAUSE_POLL_MS && access(mark, F_OK) == 0; ms -= PAUSE_POLL_MS)
		usleep(PAUSE_POLL_MS * 1000);
	if (!mark)
		usleep((useconds_t)ms * 1000);
}

static void pause_at(const char *point)
{
	const char *wanted = getenv("UVM_PAUSE_AT");
	size_t length = strlen(point);

	while (wanted) {
		if (strncmp(wanted, point, length) == 0 && wanted[length] == ':')
			pause_for(strtoul(wanted + length + 1, NULL, 10));
		wanted = strchr(wanted, ',');
		wanted += wanted != NULL;
	}
}

static void hang_at(const char *point)
{
	const char *wanted = getenv("UVM_HANG_AT");
	const char *mark = getenv("UVM_HANG_MARK");

	if (wanted && mark && strcmp(wanted, point) == 0 && mkdir(mark, 0700) == 0)
		for (;;)
			pause();
}

static long make_file(const char *mark)
{
	char path[256];

	snprintf(path, sizeof(path), "%s.made", mark);
	return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long open_to_write(const char *mark)
{
	(void)mark;
	return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static long open_to_change(const char *mark)
{
	(void)mark;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static long execute_touch(const char *mark)
{
	char *words[] = {"touch", (char *)mark, NULL};

	return execve("/usr/bin/touch", words, (char *[]){NULL});
}

static long reach_out(const char *mark)
{
	(void)mark;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long mount_there(const char *mark)
{
	return mount("none", mark, "tmpfs", 0, NULL);
}

static long leave_space(const char *mark)
{
	(void)mark;
	return syscall(SYS_unshare, CLONE_NEWUSER);
}

static long load_code(const char *mark)
{
	(void)mark;
	return syscall(SYS_init_module, "", 0UL, "");
}

static long trace_self(const char *mark)
{
	(void)mark;
	return ptrace(PTRACE_DETACH, getpid(), NULL, NULL); /* ESRCH where it is allowed */
}

static long open_as_others(const char *mark)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	(void)mark;
	if (syscall(SYS_capget, &header, data) < 0)
		return -1;
	errno = EPERM;
	return data[0].effective & ~CAP_TO_MASK(CAP_IPC_LOCK) || data[1].effective ? 0 : -1;
}

/* What must be refused, each with a directory that says what became of it. */
static void try_at(const char *point)
{
	static const struct {
		const char *name;
		long (*run)(const char *mark);
	} trials[] = {
		{"create", make_file},          {"write", open_to_write}, {"change", open_to_change},
		{"execute", execute_touch},     {"inet", reach_out},      {"mount", mount_there},
		{"unshare", leave_space},       {"module", load_code},    {"ptrace", trace_self},
		{"capability", open_as_others},
	};
	const char *wanted = getenv("UVM_TRY_AT");
	const char *mark = getenv("UVM_TRY_MARK");
	char path[256];

	if (!wanted || !mark || strcmp(wanted, point) != 0 || mkdir(mark, 0700) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(trials); i++) {
		long rc = trials[i].run(mark);

		snprintf(path, sizeof(path), "%s/%s.%s", mark, trials[i].name,
			 rc < 0 ? strerrorname_np(errno) : "done");
		mkdir(path, 0700);
	}
	snprintf(path, sizeof(path), "%s/end", mark);
	mkdir(path, 0700);
}

unsigned int failpoint_number(const char *name, unsigned int normal)
{
	const char *chosen = getenv(name);

	return chosen ? (unsigned int)strtoul(chosen, NULL, 10) : normal;
}

void failpoint(const char *point)
{
	static _Atomic unsigned long passed;
	const char *wanted = getenv("UVM_KILL_AT");
	const char *mark = getenv("UVM_KILL_MARK");
	size_t length = strlen(point);

	pause_at(point);
	hang_at(point);
	try_at(point);
	if (!wanted || !mark || strncmp(wanted, point, length) != 0 || (wanted[length] && wanted[length] != ':'))
		return;
	if (wanted[length] == ':' && atomic_fetch_add(&passed, 1) + 1 != strtoul(wanted + length + 1, NULL, 10))
		return;
	if (mkdir(mark, 0700) == 0) /* not a file: the keeper may open none */
		kill(getpid(), SIGKILL);
}

#endif
