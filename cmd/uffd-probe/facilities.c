/* SPDX-License-Identifier: MIT */
/* Trying what the tools rely on beside userfaultfd. */
#include "facilities.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/rights.h"
#include "base/size.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "proc/stat.h"
#include "uffd/guard.h"
#include "uffd/route.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE (2 * MiB)

/* A process to reach into: it has what we had when it was made, and waits to be killed. */
struct partner {
	pid_t pid;
	int pidfd;
	int shared_fd; /* a descriptor that it has too */
	char *memory;  /* HUGE bytes, aligned, the first page filled, that it has too */
};

static char *map_huge(void)
{
	char *hole = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(uintptr_t)round_up((uintptr_t)hole, HUGE);

	if (hole == MAP_FAILED)
		return NULL;
	*at = 1;
	return at;
}

static int partner_start(struct partner *partner)
{
	pid_t self = getpid();

	partner->memory = map_huge();
	partner->shared_fd = memfd_create("uvmtools", MFD_CLOEXEC);
	if (!partner->memory || partner->shared_fd < 0)
		return -ENOMEM;
	partner->pid = fork();
	if (partner->pid < 0)
		return -errno;
	if (!partner->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == self)
			pause();
		_exit(0);
	}
	partner->pidfd = pidfd_of(partner->pid);
	return partner->pidfd < 0 ? partner->pidfd : 0;
}

static void partner_end(struct partner *partner)
{
	if (partner->pid > 0) {
		kill(partner->pid, SIGKILL);
		waitpid(partner->pid, NULL, __WALL);
	}
	cleanup_close(&partner->pidfd);
	cleanup_close(&partner->shared_fd);
}

static int try_pagemap_scan(const struct partner *partner, int unused)
{
	_cleanup_close_ int fd = proc_open(partner->pid, "pagemap", O_RDONLY);
	struct pages pages = {.method = PAGES_SCAN};

	(void)unused;
	if (fd < 0)
		return fd;
	pages.pagemap_fd = fd;
	return pages_open(&pages);
}

static int try_procmap_query(const struct partner *partner, int unused)
{
	_cleanup_close_ int fd = proc_open(partner->pid, "maps", O_RDONLY);

	(void)unused;
	return fd < 0 ? fd : procmap_query_try(fd);
}

static int try_pidfd_getfd(const struct partner *partner, int unused)
{
	_cleanup_close_ int fd = pidfd_take(partner->pidfd, partner->shared_fd);

	(void)unused;
	return fd < 0 ? fd : 0;
}

static int try_process_madvise(const struct partner *partner, int advice)
{
	const struct iovec range = {.iov_base = partner->memory, .iov_len = HUGE};

	if (syscall(SYS_process_madvise, partner->pidfd, &range, 1, advice, 0) >= 0)
		return 0;
	/* The kernel knows how, and could not just now. */
	if (advice == MADV_COLLAPSE && (errno == EAGAIN || errno == EBUSY || errno == ENOMEM))
		return 0;
	return -errno;
}

static int try_mremap_dontunmap(const struct partner *partner, int unused)
{
	size_t bytes = page_size();
	char *from = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *to;
	int result;

	(void)partner;
	(void)unused;
	if (from == MAP_FAILED)
		return -errno;
	*from = 1;
	to = mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (to == MAP_FAILED) {
		result = -errno;
	} else {
		result = *to == 1 && *from == 0 ? 0 : -EIO;
		munmap(to, bytes);
	}
	munmap(from, bytes);
	return result;
}

static int try_populate_write(const struct partner *partner, int unused)
{
	size_t bytes = page_size();
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char there = 0;
	int result;

	(void)partner;
	(void)unused;
	if (at == MAP_FAILED)
		return -errno;
	result = madvise(at, bytes, MADV_POPULATE_WRITE) ? -errno : 0;
	if (!result && !mincore(at, bytes, &there) && !(there & 1))
		result = -EIO;
	munmap(at, bytes);
	return result;
}

/* The last one: the partner is being traced from here on. */
static int try_suspend_seccomp(const struct partner *partner, int unused)
{
	(void)unused;
	return ptrace(PTRACE_SEIZE, partner->pid, NULL, PTRACE_O_SUSPEND_SECCOMP) ? -errno : 0;
}

#define NICE "run Linux 5.10 or newer, as root or with CAP_SYS_NICE"
#define OWN  "other processes do not take this advice: it is injected instead"

const struct facility facilities[FACILITIES] = {
	{"pagemap_scan", "run Linux 6.7 or newer; without it pages are found by /proc/PID/pagemap, more slowly",
	 try_pagemap_scan, 0},
	{"procmap_query", "run Linux 6.11 or newer; without it mappings are found by reading /proc/PID/maps",
	 try_procmap_query, 0},
	{"pidfd_getfd", "run Linux 5.6 or newer, and allow it in the seccomp profile", try_pidfd_getfd, 0},
	{"process_madvise_cold", NICE, try_process_madvise, MADV_COLD},
	{"process_madvise_pageout", NICE, try_process_madvise, MADV_PAGEOUT},
	{"process_madvise_willneed", NICE, try_process_madvise, MADV_WILLNEED},
	{"process_madvise_collapse", "run Linux 6.1 or newer with transparent huge pages, as root or with CAP_SYS_NICE",
	 try_process_madvise, MADV_COLLAPSE},
	{"process_madvise_dontneed", OWN, try_process_madvise, MADV_DONTNEED},
	{"process_madvise_free", OWN, try_process_madvise, MADV_FREE},
	{"mremap_dontunmap", "run Linux 5.7 or newer", try_mremap_dontunmap, 0},
	{"madv_populate_write", "run Linux 5.14 or newer", try_populate_write, 0},
	{"ptrace_suspend_seccomp",
	 "run as root (CAP_SYS_ADMIN), outside of any seccomp filter, on a kernel with CONFIG_CHECKPOINT_RESTORE",
	 try_suspend_seccomp, 0},
};

static int try_one(const void *argument)
{
	const struct facility *facility = argument;
	struct partner partner = {.pidfd = -1, .shared_fd = -1};
	int result = partner_start(&partner);

	if (!result)
		result = facility->run(&partner, facility->argument);
	partner_end(&partner);
	return result;
}

static void try_together(int code[FACILITIES])
{
	struct partner partner = {.pidfd = -1, .shared_fd = -1};
	int result = partner_start(&partner);

	for (size_t i = 0; i < FACILITIES; i++)
		code[i] = result ? result : facilities[i].run(&partner, facilities[i].argument);
	partner_end(&partner);
}

void facilities_try(int code[FACILITIES])
{
	if (!rights_under_seccomp()) {
		try_together(code);
		return;
	}
	for (size_t i = 0; i < FACILITIES; i++)
		code[i] = guard_call(try_one, &facilities[i]);
}

int facility_explain(size_t index, int code, struct error *error)
{
	static const char lacks[] = "this kernel lacks it";
	const char *why = NULL;

	if (code == -ENOSYS || code == -ENOTTY || code == -EOPNOTSUPP || code == -EINVAL)
		why = rights_under_seccomp() && code == -ENOSYS ? "this kernel lacks it, or a seccomp filter hides it"
								: lacks;
	return error_set(error, code, why, facilities[index].cure, "use %s", facilities[index].name);
}
