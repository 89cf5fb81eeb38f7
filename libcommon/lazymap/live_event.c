/* SPDX-License-Identifier: MIT */
/*
 * What the programs do to their address spaces, in the order they do it. Threads take turns: one reads messages until
 * there is something to fill, passes its turn on, and fills it itself. One is always left to read, however slow the
 * source: a program that forks or unmaps waits for nothing but that.
 */
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "lazymap/live_event.h"
#include "lazymap/live_fill.h"
#include "lazymap/live_request.h"
#include "lazymap/live_state.h"
#include "service/failpoint.h"
#include "uffd/uffd.h"

#define POKE UINT32_MAX

static void put_in_force(struct live *live)
{
	struct live_shared *shared = live->shared;

	atomic_store(&shared->current, 1 - atomic_load(&shared->current));
}

static struct live_table *next_table(struct live *live)
{
	return &live->shared->tables[1 - atomic_load(&live->shared->current)];
}

/* A child for which there is no place: what is not there yet will never be, and SIGBUS is the lesser evil. */
static void give_up(struct live *live, uint32_t parent, int uffd)
{
	const struct live_table *table = live_table(live);

	for (uint32_t i = 0; i < table->count; i++)
		if (table->pieces[i].space == parent)
			live_fill_poison(live, uffd, table->pieces[i].region);
	close(uffd);
}

/* Once it is in force no other worker applies the event again; before that every one does. */
static void apply_event(struct live *live)
{
	struct live_shared *shared = live->shared;
	const struct uffd_msg *message = &shared->pending.message;
	struct epoll_event event = {.events = EPOLLIN};
	int child;

	live_table_apply(next_table(live), live_table(live), shared->pending.space, message, &child);
	failpoint("cache-applying");
	put_in_force(live);
	if (message->event == UFFD_EVENT_FORK && child < 0)
		give_up(live, shared->pending.space, (int)message->arg.fork.ufd);
	event.data.u32 = (uint32_t)child;
	if (child >= 0)
		epoll_ctl(live->epoll, EPOLL_CTL_ADD, (int)message->arg.fork.ufd, &event);
}

static void count_event(struct live_shared *shared, const struct uffd_msg *message)
{
	if (message->event == UFFD_EVENT_FORK)
		atomic_fetch_add(&shared->counts.forks, 1);
	if (message->event == UFFD_EVENT_REMAP)
		atomic_fetch_add(&shared->counts.remaps, 1);
	if (message->event == UFFD_EVENT_REMOVE)
		atomic_fetch_add(&shared->counts.removes, 1);
	if (message->event == UFFD_EVENT_UNMAP)
		atomic_fetch_add(&shared->counts.unmaps, 1);
}

/* Reads one message of an address space, and sees to it. Returns 1, 0 without one, or -errno. */
static int read_message(struct live *live, uint32_t space)
{
	struct live_shared *shared = live->shared;
	const struct uffd_msg *message = &shared->pending.message;
	int uffd;
	int rc;

	pthread_rwlock_wrlock(&live->events);
	uffd = live_table(live)->uffd[space];
	shared->pending.message.event = 0;
	shared->pending.space = space;
	shared->pending.number = live_table(live)->applied + 1;
	rc = uffd < 0 ? 0 : uffd_read(uffd, &shared->pending.message, 1);
	if (rc > 0)
		failpoint(message->event == UFFD_EVENT_PAGEFAULT ? "cache-fault" : "cache-event");
	if (rc > 0 && message->event == UFFD_EVENT_PAGEFAULT) {
		live_request_note(live, space, message->arg.pagefault.address);
	} else if (rc > 0) {
		apply_event(live);
		failpoint("cache-applied");
		count_event(shared, message);
		uffd_wake_changed(uffd, message);
	}
	pthread_rwlock_unlock(&live->events);
	return rc;
}

void live_event_recover(struct live *live)
{
	struct live_shared *shared = live->shared;
	uint8_t event = shared->pending.message.event;

	if (event && event != UFFD_EVENT_PAGEFAULT && shared->pending.number > live_table(live)->applied)
		apply_event(live);
	for (uint32_t i = 0; i < LIVE_SPACES; i++) {
		struct epoll_event watched = {.events = EPOLLIN, .data.u32 = i};
		int uffd = live_table(live)->uffd[i];

		if (uffd < 0)
			continue;
		epoll_ctl(live->epoll, EPOLL_CTL_ADD, uffd, &watched);
		/* Messages that the dead worker had read are not delivered again: those who wait fault once more. */
		uffd_wake_all(uffd);
	}
}

void live_event_let_go(struct live *live, uint32_t space)
{
	int uffd;

	pthread_rwlock_wrlock(&live->events);
	uffd = live_table(live)->uffd[space];
	if (uffd >= 0) {
		live_table_drop(next_table(live), live_table(live), space);
		put_in_force(live);
		epoll_ctl(live->epoll, EPOLL_CTL_DEL, uffd, NULL);
		close(uffd);
	}
	pthread_rwlock_unlock(&live->events);
}

unsigned int live_event_check(struct live *live)
{
	unsigned int alive = 0;

	for (uint32_t i = 0; i < LIVE_SPACES; i++) {
		bool gone;

		pthread_rwlock_rdlock(&live->events);
		gone = live_table(live)->uffd[i] >= 0 && !uffd_alive(live_table(live)->uffd[i]);
		pthread_rwlock_unlock(&live->events);
		if (gone)
			live_event_let_go(live, i);
	}
	/* One that has ended since may have left a child where was none before. */
	pthread_rwlock_rdlock(&live->events);
	for (uint32_t i = 0; i < LIVE_SPACES; i++)
		alive += live_table(live)->uffd[i] >= 0;
	pthread_rwlock_unlock(&live->events);
	return alive;
}

int live_event_init(struct live *live)
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
	while (read_message(live, event->data.u32) > 0)
		pulse_next(&live->shared->pulse.threads[PULSE_READER]);
}

static int milliseconds_until(uint64_t ns)
{
	uint64_t now = clock_now_ns();

	if (ns == UINT64_MAX)
		return -1;
	return ns <= now ? 0 : (int)min_u64((ns - now + 999999) / 1000000, INT_MAX);
}

struct live_request *live_event_next(struct live *live)
{
	uint64_t next_ns;
	struct live_request *request = live_request_take(live, &next_ns);

	if (request)
		return request;
	pthread_mutex_lock(&live->lead);
	while (!atomic_load(&live->quiet) && !(request = live_request_take(live, &next_ns))) {
		struct epoll_event events[16];
		int count = epoll_wait(live->epoll, events, ARRAY_SIZE(events), milliseconds_until(next_ns));

		pulse_begin(&live->shared->pulse.threads[PULSE_READER]);
		for (int i = 0; i < count; i++)
			read_messages(live, &events[i]);
		pulse_end(&live->shared->pulse.threads[PULSE_READER]);
	}
	pthread_mutex_unlock(&live->lead);
	while (!request)
		pause();
	return request;
}
