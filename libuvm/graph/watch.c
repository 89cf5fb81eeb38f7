/* SPDX-License-Identifier: MIT */
/*
 * The userfaultfd that watches windows. One thread reads it and does nothing that could wait: a thread that moves a
 * mapping waits until that was read. A fault that it cannot serve at once it hands to the other thread, which takes the
 * graph's lock.
 */
#include "graph/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "graph/graph.h"
#include "uffd/open.h"
#include "uffd/uffd.h"

#define MESSAGES 32
#define WAITING  1024

struct fault {
	uint64_t page;
	bool write_protected;
};

static int uffd = -1;
static uint64_t features;
static bool serves_calls;
static LIST_HEAD(, uvm_space) windows = LIST_HEAD_INITIALIZER(windows);
static int failure; /* of the first attempt to start: it is not tried again */

/* Faults for the second thread; one that finds it full is woken and comes again. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct fault faults[WAITING];
	size_t count;
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

int watch_fd(void)
{
	return uffd;
}

void watch_add_window(struct uvm_space *space)
{
	LIST_INSERT_HEAD(&windows, space, watched);
}

void watch_remove_window(struct uvm_space *space)
{
	LIST_REMOVE(space, watched);
}

bool watch_catches_writes(void)
{
	return features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
}

bool watch_poisons(void)
{
	return features & UFFD_FEATURE_POISON;
}

bool watch_serves_calls(void)
{
	return serves_calls;
}

/*
 * What the fault was about may have changed since: it is looked up anew, and who waited tries again. The graph's lock
 * is held.
 */
static void serve_fault(struct fault fault)
{
	struct uvm_space *space;

	LIST_FOREACH(space, &windows, watched)
		if (space->window.start <= fault.page && fault.page < space->window.end)
			break;
	if (space)
		space->mappable.ops->fault(space, region_at(fault.page, page_size()), fault.write_protected);
	else
		uffd_wake(uffd, region_at(fault.page, page_size()));
}

static void hand_over(struct fault fault)
{
	pthread_mutex_lock(&waiting.lock);
	if (waiting.count < WAITING)
		waiting.faults[waiting.count++] = fault;
	else
		uffd_wake(uffd, region_at(fault.page, page_size()));
	pthread_cond_signal(&waiting.filled);
	pthread_mutex_unlock(&waiting.lock);
}

static void *serve_waiting(void *unused)
{
	static struct fault faults[WAITING];

	for (;;) {
		size_t count;

		pthread_mutex_lock(&waiting.lock);
		while (!waiting.count)
			pthread_cond_wait(&waiting.filled, &waiting.lock);
		count = waiting.count;
		for (size_t i = 0; i < count; i++)
			faults[i] = waiting.faults[i];
		waiting.count = 0;
		pthread_mutex_unlock(&waiting.lock);
		for (size_t i = 0; i < count; i++) {
			graph_lock();
			serve_fault(faults[i]);
			graph_unlock();
		}
	}
	return unused;
}

/* Copying moves mappings, which this thread must be free to hear of. */
static void take_message(const struct uffd_msg *message)
{
	struct fault fault;

	if (message->event != UFFD_EVENT_PAGEFAULT)
		return;
	fault.page = round_down(message->arg.pagefault.address, page_size());
	fault.write_protected = message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
	if (fault.write_protected || pthread_mutex_trylock(&graph_mutex)) {
		hand_over(fault);
		return;
	}
	serve_fault(fault);
	pthread_mutex_unlock(&graph_mutex);
}

static void *read_messages(void *unused)
{
	struct pollfd readable = {.fd = uffd, .events = POLLIN};

	for (int count = 0; count >= 0;) {
		struct uffd_msg messages[MESSAGES];

		poll(&readable, 1, -1);
		count = uffd_read(uffd, messages, MESSAGES);
		for (int i = 0; i < count; i++)
			take_message(&messages[i]);
	}
	return unused;
}

int watch_thread(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attributes, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (rc == 0)
		pthread_setname_np(thread, "uvm-space");
	return rc ? UVM_MEM_NO_MEMORY : 0;
}

/* Those that get the faults of system calls first; with the last one these fail with EFAULT instead. */
static int open_best(void)
{
	static const enum uffd_route order[] = {UFFD_ROUTE_DEVICE, UFFD_ROUTE_SYSCALL, UFFD_ROUTE_USER_MODE_ONLY};
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(order); i++) {
		fd = uffd_open(order[i]);
		serves_calls = order[i] != UFFD_ROUTE_USER_MODE_ONLY;
	}
	return fd;
}

static int start_watching(void)
{
	const uint64_t needed = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_MISSING_SHMEM;
	const uint64_t wanted =
		needed | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_POISON;
	_cleanup_close_ int asked = open_best();
	_cleanup_close_ int fd = open_best();
	uint64_t offered;

	if (asked < 0 || fd < 0 || uffd_offered(asked, &offered) < 0)
		return UVM_MEM_OPERATION_NOT_SUPPORTED;
	features = offered & wanted;
	if (uffd_handshake(fd, features | needed) < 0)
		return UVM_MEM_OPERATION_NOT_SUPPORTED;
	uffd = fd;
	if (watch_thread(read_messages, NULL) < 0 || watch_thread(serve_waiting, NULL) < 0) {
		uffd = -1;
		return UVM_MEM_OPERATION_NOT_SUPPORTED;
	}
	steal_fd(&fd);
	return 0;
}

int watch_start(void)
{
	if (uffd < 0 && !failure)
		failure = start_watching();
	return failure;
}
