/* SPDX-License-Identifier: MIT */
/* Forking a stopped process so that neither it nor its copy notices. */
#include "puppet/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "inject/far.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "puppet/birth.h"

#define PARK_MS   2000
#define LINGER_MS 1000
#define FOR_GOOD  1000000000000 /* seconds */
#define CODE_MOST 512

static int explain_copy(const struct inject *inject, int64_t rc, struct error *error)
{
	static const struct error_cause causes[] = {
		{-ENOMEM, .why = "the kernel does not promise memory for it",
		 .hint = "see vm.overcommit_memory and the memory limit of its control group"},
		{-EAGAIN, .why = "its user or its control group has as many processes as it may have",
		 .hint = "see RLIMIT_NPROC and pids.max"},
		{-ENOSYS, .why = "this kernel has no close_range(2)", .hint = "it takes Linux 5.9"},
		{-ETIMEDOUT, .why = "a thread does not stop, or nobody answers the fork event of its userfaultfd",
		 .hint = "see the State lines in /proc/PID/task/*/status"},
		{-EBUSY, .why = "its control group is frozen, and a copy would be born outside of it",
		 .hint = "thaw it: write 0 to cgroup.freeze of its control group"},
		{-EALREADY, .why = STOP_HELD, .hint = "try again", .as = -EBUSY},
		{-ESRCH, .why = "it has ended"},
		{0},
	};

	return error_explain(error, causes, (int)rc, "copy process %d", inject->target->pid);
}

/* On the one thread that is stopped; all others for the time it takes. */
static int64_t make_copy(struct inject *inject, struct inject_copy *copy, const struct inject_copy_still *still)
{
	struct inject_threads others = {0};
	struct birth birth = {.own = copy->own, .name = "uvmtools clone"};
	int64_t rc = inject->stop->thaw ? -EBUSY : birth_map(inject, &birth);

	if (rc < 0)
		return rc;
	copy->own = birth.own;
	copy->child = birth.child;
	rc = inject_stop_others(inject, &others);
	copy->threads_missed = others.missed;
	copy->threads = others.count + 1 - others.missed;
	if (rc == 0 && still)
		rc = inject_registers_read(inject, &others, &copy->registers, &copy->threads);
	if (rc == 0 && still)
		still->inspect(still->context);
	if (rc == 0)
		rc = birth_run(inject, &birth);
	copy->pid = birth.pid;
	inject_release_others(&others);
	copy->lingering = others;
	birth_unmap(inject, &birth);
	return rc;
}

int inject_copy_make(struct inject *inject, struct inject_copy *copy, const struct inject_copy_still *still,
		     struct error *error)
{
	int64_t rc;

	*copy = (struct inject_copy){0};
	rc = far_choose(inject->target, INJECT_COPY_PAGES * page_size(), &copy->own.start);
	if (rc < 0)
		return explain_copy(inject, rc, error);
	rc = inject_begin(inject, error);
	if (rc < 0)
		return (int)rc;
	rc = make_copy(inject, copy, still);
	copy->pause_us = inject_held_us(inject);
	inject_end(inject);
	if (rc == 0)
		return 0;
	if (copy->pid)
		kill(copy->pid, SIGKILL);
	for (int tries = 0; tries < LINGER_MS && inject_copy_linger(copy) > 0; tries++)
		usleep(1000);
	inject_copy_free(copy);
	return explain_copy(inject, rc, error);
}

size_t inject_copy_linger(struct inject_copy *copy)
{
	return inject_release_others(&copy->lingering);
}

void inject_copy_free(struct inject_copy *copy)
{
	inject_registers_free(copy->registers, copy->threads);
	free(copy->lingering.items);
	*copy = (struct inject_copy){0};
}

/* Writes into its memory how long to wait, and under which name. */
static int prepare_memory(const struct inject_copy *copy, const char *name)
{
	_cleanup_close_ int fd = proc_open(copy->pid, "mem", O_RDWR);
	struct arch_copy data;
	uint64_t at = copy->own.start + page_size();

	if (fd < 0)
		return fd;
	if (fd_read_all(fd, &data, sizeof(data), at) < 0)
		return -EIO;
	data.left = FOR_GOOD;
	data.tick[0] = FOR_GOOD;
	snprintf(data.name, sizeof(data.name), "%.15s", name);
	return fd_write_all(fd, &data, sizeof(data), at) < 0 ? -EIO : 0;
}

/*
 * In state T, whatever its seccomp filter says of waiting. The parent is told of that by a SIGCHLD, so it must not be
 * the target.
 */
static int park_stopped(const struct inject_copy *copy)
{
	int signal = 0;
	int rc;

	/* The thread's mask blocks every signal but this one and SIGKILL. */
	kill(copy->pid, SIGSTOP);
	rc = birth_run_until(copy->pid, PTRACE_CONT, birth_is_group_stop, &signal);
	if (rc < 0)
		return rc;
	return ptrace(PTRACE_DETACH, copy->pid, NULL, NULL) < 0 ? -errno : 0;
}

/* Asleep in its wait, if it is allowed to. */
static int park_asleep(const struct inject_copy *copy)
{
	uint64_t deadline = now_us() + PARK_MS * 1000;
	struct proc_stat stat;
	int rc;

	if (ptrace(PTRACE_DETACH, copy->pid, NULL, NULL) < 0)
		return -errno;
	while ((rc = proc_stat_read(copy->pid, &stat)) == 0 && stat.state != 'S') {
		if (strchr("ZX", stat.state) || now_us() > deadline)
			return -ESRCH;
		usleep(100);
	}
	return rc;
}

int inject_copy_park(struct inject_copy *copy, const char *name)
{
	int signal = 0;
	int rc = prepare_memory(copy, name);

	if (rc == 0)
		rc = birth_run_until(copy->pid, PTRACE_SYSCALL, birth_enters_wait, &signal);
	if (rc < 0)
		return rc;
	return copy->child ? park_asleep(copy) : park_stopped(copy);
}

int inject_copy_reap(const struct target *target, pid_t there, struct error *error)
{
	struct inject inject;
	int rc = inject_open(&inject, target, error);

	if (rc < 0)
		return rc;
	rc = inject_begin(&inject, error);
	if (rc == 0) {
		int64_t reaped = birth_reap(&inject, there);

		inject_end(&inject);
		if (reaped < 0)
			rc = error_set(error, (int)reaped, NULL, NULL, "reap the copy in process %d", target->pid);
	}
	inject_close(&inject);
	return rc;
}

bool inject_copy_is_code(const unsigned char *page, size_t bytes)
{
	size_t code_bytes;
	const unsigned char *code = arch_copy_code(&code_bytes);

	return bytes >= code_bytes && memcmp(page, code, code_bytes) == 0;
}

bool inject_copy_lies_at(int mem_fd, uint64_t address)
{
	unsigned char there[CODE_MOST];

	return inject_peek(mem_fd, address, there, sizeof(there)) == 0 && inject_copy_is_code(there, sizeof(there));
}
