/* SPDX-License-Identifier: MIT */
/*
 * Threads take turns: one reads messages until there is something to fill, passes its turn on, and fills it itself. One
 * is always left to read, however slow the source: a program that forks or unmaps waits for nothing but that.
 */
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "lazymap/live_parts.h"
#include "uffd/uffd.h"

#define POKE UINT32_MAX

int live_fault_init(struct live *live)
{
	struct epoll_event poke = {.events = EPOLLIN, .data.u32 = POKE};
	pthread_rwlockattr_t writers_first;

	pthread_mutex_init(&live->lead, NULL);
	pthread_rwlockattr_init(&writers_first);
	pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&live->events, &writers_first);
	pthread_rwlockattr_destroy(&writers_first);
	live_request_init(live);
	atomic_store(&live->quiet, false);
	live->epoll = epoll_create1(EPOLL_CLOEXEC);
	live->poke = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (live->epoll < 0 || live->poke < 0 || epoll_ctl(live->epoll, EPOLL_CTL_ADD, live->poke, &poke) < 0)
		return -errno;
	return 0;
}

static void read_messages(struct live *live, const struct epoll_event *event)
{
	if (event->data.u32 == POKE) {
		eventfd_read(live->poke, &(eventfd_t){0});
		return;
	}
	while (live_event_read(live, event->data.u32) > 0)
		;
}

static int milliseconds_until(uint64_t ns)
{
	uint64_t now = clock_now_ns();

	if (ns == UINT64_MAX)
		return -1;
	return ns <= now ? 0 : (int)min_u64((ns - now + 999999) / 1000000, INT_MAX);
}

struct live_request *live_fault_next(struct live *live)
{
	uint64_t next_ns;
	struct live_request *request = live_request_take(live, &next_ns);

	if (request)
		return request;
	pthread_mutex_lock(&live->lead);
	while (!atomic_load(&live->quiet) && !(request = live_request_take(live, &next_ns))) {
		struct epoll_event events[16];
		int count = epoll_wait(live->epoll, events, ARRAY_SIZE(events), milliseconds_until(next_ns));

		for (int i = 0; i < count; i++)
			read_messages(live, &events[i]);
	}
	pthread_mutex_unlock(&live->lead);
	while (!request)
		pause();
	return request;
}
