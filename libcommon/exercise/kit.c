/* SPDX-License-Identifier: MIT */
/* What exercises are written with. Every wait here has an end, so that an exercise says what did not come. */
#include "exercise/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "uffd/uffd.h"

#define PATIENCE_S 2

static _Thread_local sigjmp_buf *escape;
static _Thread_local volatile sig_atomic_t escape_code;

__attribute__((noreturn, format(printf, 3, 0))) static void end_exercise(struct kit *kit, enum exercise_result result,
									 const char *seen, va_list args)
{
	vsnprintf(kit->outcome->seen, sizeof(kit->outcome->seen), seen, args);
	kit->outcome->result = result;
	_exit(0);
}

void kit_pass(struct kit *kit, const char *seen, ...)
{
	va_list args;

	va_start(args, seen);
	end_exercise(kit, EXERCISE_PASS, seen, args);
}

void kit_fail(struct kit *kit, const char *seen, ...)
{
	va_list args;

	va_start(args, seen);
	end_exercise(kit, EXERCISE_FAIL, seen, args);
}

void kit_not_applicable(struct kit *kit, const char *why, ...)
{
	va_list args;

	va_start(args, why);
	end_exercise(kit, EXERCISE_NOT_APPLICABLE, why, args);
}

static const char *result_text(int result)
{
	return result ? strerrorname_np(-result) : "success";
}

void kit_expect(struct kit *kit, const char *call, int result, int wanted)
{
	if (result != wanted)
		kit_fail(kit, "%s: %s, expected was %s", call, result_text(result), result_text(wanted));
}

void kit_check(struct kit *kit, bool holds, const char *what)
{
	if (!holds)
		kit_fail(kit, "not seen: %s", what);
}

struct region kit_region(const char *at, size_t pages)
{
	return region_at((uintptr_t)at, pages * page_size());
}

static void register_pages(struct kit *kit, char *at, size_t bytes, uint64_t mode)
{
	int result = uffd_register(kit->fd, region_at((uintptr_t)at, bytes), mode, NULL);

	if (result)
		kit_fail(kit, "UFFDIO_REGISTER: %s", strerrorname_np(-result));
}

char *kit_pages(struct kit *kit, size_t count, uint64_t mode)
{
	size_t bytes = count * page_size();
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		kit_not_applicable(kit, "no memory: %s", strerror(errno));
	madvise(at, bytes, MADV_NOHUGEPAGE);
	if (mode)
		register_pages(kit, at, bytes, mode);
	return at;
}

static char *map_shared(int fd, size_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

size_t kit_shared(struct kit *kit, unsigned int flags, uint64_t mode, char **at, char **alias)
{
	size_t bytes = flags & MFD_HUGETLB ? 2 * MiB : page_size();
	_cleanup_close_ int fd = memfd_create("uvmtools", MFD_CLOEXEC | flags | (flags ? MFD_HUGE_2MB : 0));

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		kit_not_applicable(kit, "memfd_create: %s", strerror(errno));
	*at = map_shared(fd, bytes);
	*alias = map_shared(fd, bytes);
	if (!*at || !*alias)
		kit_not_applicable(kit, flags ? "no huge page is free (sysctl vm.nr_hugepages)" : "no memory");
	register_pages(kit, *at, bytes, mode);
	return bytes;
}

const char *kit_source(struct kit *kit, size_t bytes)
{
	return memset(kit_pages(kit, bytes / page_size(), 0), KIT_BYTE, bytes);
}

void kit_copy(struct kit *kit, int fd, const char *at, size_t bytes, bool wake)
{
	size_t done;

	kit_expect(kit, "UFFDIO_COPY", uffd_copy(fd, (uintptr_t)at, kit_source(kit, bytes), bytes, wake, &done), 0);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (!escape) {
		signal(number, SIG_DFL);
		return;
	}
	escape_code = info->si_code;
	siglongjmp(*escape, number);
}

static void *touch_run(void *argument)
{
	struct kit_touch *touch = argument;
	volatile char *at = touch->at;
	sigjmp_buf buffer;

	touch->tid = gettid();
	escape = &buffer;
	touch->signal = sigsetjmp(buffer, 1);
	if (touch->signal) {
		touch->signal_code = escape_code;
	} else {
		if (touch->write)
			*at = KIT_BYTE + 1;
		touch->value = *at;
	}
	escape = NULL;
	return NULL;
}

void kit_start(struct kit *kit, pthread_t *thread, void *(*run)(void *), void *argument)
{
	int result = pthread_create(thread, NULL, run, argument);

	if (result)
		kit_not_applicable(kit, "no thread: %s", strerror(result));
}

void kit_touch(struct kit *kit, struct kit_touch *touch, char *at, bool write)
{
	const struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &action, NULL);
	*touch = (struct kit_touch){.write = write};
	touch->at = at;
	kit_start(kit, &touch->thread, touch_run, touch);
}

void kit_joined(struct kit *kit, pthread_t thread, const char *what)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PATIENCE_S;
	if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until))
		kit_fail(kit, "%s was not woken within %d s", what, PATIENCE_S);
}

void kit_done(struct kit *kit, struct kit_touch *touch)
{
	kit_joined(kit, touch->thread, touch->write ? "the writer" : "the reader");
}

bool kit_has_message(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 0) > 0;
}

void kit_message(struct kit *kit, int fd, struct uffd_msg *message)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	if (poll(&ready, 1, PATIENCE_S * 1000) != 1 || uffd_read(fd, message, 1) != 1)
		kit_fail(kit, "no message came within %d s", PATIENCE_S);
}

uint64_t kit_fault(struct kit *kit, const char *at)
{
	struct uffd_msg message;

	kit_message(kit, kit->fd, &message);
	if (message.event != UFFD_EVENT_PAGEFAULT)
		kit_fail(kit, "event 0x%x came where a fault was expected", message.event);
	if (round_down(message.arg.pagefault.address, page_size()) != round_down((uintptr_t)at, page_size()))
		kit_fail(kit, "the fault is at 0x%llx, expected was %p", message.arg.pagefault.address,
			 (const void *)at);
	return message.arg.pagefault.flags;
}

unsigned int kit_waiting(struct kit *kit)
{
	_cleanup_close_ int info = -1;
	char path[40];
	uint64_t total;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", kit->fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (fd_find_number(info, "total", 10, &total) == 0)
		return (unsigned int)total;
	kit_not_applicable(kit, "%s does not tell who waits", path);
}

uint64_t kit_pagemap(struct kit *kit, const char *at)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	int rc = fd_read_all(fd, &entry, sizeof(entry), (uintptr_t)at / page_size() * sizeof(entry));

	if (rc < 0)
		kit_not_applicable(kit, "/proc/self/pagemap cannot be read: %s", strerror(-rc));
	return entry;
}

pid_t kit_fork(struct kit *kit)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		kit_not_applicable(kit, "fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}
