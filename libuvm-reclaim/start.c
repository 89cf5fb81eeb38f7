/* SPDX-License-Identifier: MIT */
/* Before main(): limits from the environment, and what is to be done around fork(2). */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cache.h"
#include "front.h"
#include "heap.h"
#include "real.h"
#include "table.h"

#define HANDLERS 4

struct handlers {
	void (*before)(void);
	void (*parent)(void);
	void (*child)(void);
};

static struct handlers of_ring[HANDLERS];
static unsigned int handler_count;
static __thread bool locked;       /* for the fork of this thread */
static __thread bool ring_follows; /* into the child that is being made */

/* glibc's; musl has none. */
extern int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *library)
	__attribute__((weak));

/*
 * Instead of that of libc, for the ring in this library alone: it makes its handlers when the first block is freed, and
 * they have to run with the lock held, while ours have to be first of all in the program, so that no other handler that
 * frees memory meets the lock.
 */
int pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (handler_count == HANDLERS)
		return -1;
	of_ring[handler_count++] = (struct handlers){prepare, parent, child};
	return 0;
}

/* Without them the child is left with a ring that it may not use, which the ring notices. */
static void before_fork(void)
{
	locked = heap_fork_lock();
	ring_follows = locked && cache_ring_may_be();
	for (unsigned int i = handler_count; i > 0 && ring_follows; i--)
		if (of_ring[i - 1].before)
			of_ring[i - 1].before();
}

static void after_in_parent(void)
{
	for (unsigned int i = 0; i < handler_count && ring_follows; i++)
		if (of_ring[i].parent)
			of_ring[i].parent();
	if (locked)
		heap_fork_unlock();
}

static void after_in_child(void)
{
	for (unsigned int i = 0; i < handler_count && ring_follows; i++)
		if (of_ring[i].child)
			of_ring[i].child();
	if (locked)
		heap_fork_unlock();
}

static bool handle_forks(void)
{
	int (*at_fork)(void (*)(void), void (*)(void), void (*)(void));

	if (__register_atfork)
		return __register_atfork(before_fork, after_in_parent, after_in_child, NULL) == 0;
	*(void **)&at_fork = dlsym(RTLD_NEXT, "pthread_atfork");
	return at_fork && at_fork(before_fork, after_in_parent, after_in_child) == 0;
}

static void complain_of(const char *name, const char *text)
{
	static const char says[] = "libuvm-reclaim: ";
	static const char why[] = ": not a size that is allowed, the default is used\n";
	const char *const parts[] = {says, name, "=", text, why};
	char line[160] = "";

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		strncat(line, parts[i], sizeof(line) - 1 - strlen(line));
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}

static void read_limit(const char *name, uint64_t least, size_t *limit)
{
	const char *text = getenv(name);
	uint64_t value;

	if (!text)
		return;
	if (size_parse(text, &value) < 0 || value < least)
		complain_of(name, text);
	else
		*limit = value;
}

/* A quarter of the machine's memory, or of what the process may map. */
static size_t default_cache(void)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * page_size();
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < memory)
		memory = limit.rlim_cur;
	return memory / 4;
}

/*
 * A quarter of the mappings that a process may have (vm.max_map_count of proc_sys_vm(5)). What cannot be read is as the
 * kernel sets it.
 */
static size_t default_maps(void)
{
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
	char text[32];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	unsigned long most;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	most = strtoul(text, NULL, 10);
	return most ? most / 4 : heap_limits.maps;
}

/*
 * A program that brings its own malloc() calls that and not ours; then whatever reaches us all the same has to go where
 * the rest goes. The address of the function does not tell: in a program that is not position independent it is one of
 * its own.
 */
static bool in_charge(void)
{
	void *(*allocate)(size_t size);
	void (*release)(void *at);
	size_t min = heap_limits.min;

	*(void **)&allocate = dlsym(RTLD_DEFAULT, "malloc");
	*(void **)&release = dlsym(RTLD_DEFAULT, "free");
	if (!allocate || !release)
		return false;
	heap_limits.min = 0;
	release(allocate(1));
	heap_limits.min = min;
	return heap_asked;
}

__attribute__((constructor(101))) static void start(void)
{
	size_t front = 256 * KiB;

	real();
	heap_limits.cache = default_cache();
	heap_limits.maps = default_maps();
	read_limit("UVM_RECLAIM_MIN", UINT64_C(1) << GRANULE_SHIFT, &heap_limits.min);
	read_limit("UVM_RECLAIM_CACHE", 0, &heap_limits.cache);
	read_limit("UVM_RECLAIM_FRONT", 0, &front);
	front_start(front, heap_keep);
	if (!in_charge() || !handle_forks())
		heap_limits.min = SIZE_MAX;
}
