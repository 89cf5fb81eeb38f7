/* SPDX-License-Identifier: MIT */
/*
 * Threads take turns: one reads messages until there is something to fill, passes its turn on, and fills it itself. One
 * is always left to read, however slow the source: a program that forks or unmaps waits for nothing but that.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/array.h"
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
	pthread_mutex_init(&live->lock, NULL);
	pthread_rwlockattr_init(&writers_first);
	pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&live->events, &writers_first);
	pthread_rwlockattr_destroy(&writers_first);
	live->requests = NULL;
	live->filling = 0;
	atomic_store(&live->quiet, false);
	live->epoll = epoll_create1(EPOLL_CLOEXEC);
	live->poke = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (live->epoll < 0 || live->poke < 0 || epoll_ctl(live->epoll, EPOLL_CTL_ADD, live->poke, &poke) < 0)
		return -errno;
	return 0;
}

static bool add_waiter(struct request *request, struct waiter waiter)
{
	if (array_reserve(&request->waiters, request->count, &request->size) < 0)
		return false;
	request->waiters[request->count++] = waiter;
	return true;
}

static void free_request(struct request *request)
{
	free(request->waiters);
	free(request);
}

static struct request *new_request(struct live *live, uint64_t block, struct waiter waiter)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->block = block;
	request->since_ns = clock_now_ns();
	request->due_ns = request->since_ns + (block == NO_BLOCK ? 0 : live->options->delay_ms * 1000000);
	if (!add_waiter(request, waiter)) {
		free_request(request);
		return NULL;
	}
	request->next = live->requests;
	live->requests = request;
	return request;
}

/* In the order they came, so far as they are due. `lock` is held. */
static struct request *find_due(const struct live *live, uint64_t now, uint64_t *next_ns)
{
	struct request *first = NULL;

	*next_ns = UINT64_MAX;
	for (struct request *r = live->requests; r; r = r->next) {
		if (r->filling)
			continue;
		if (r->due_ns <= now && (!first || r->since_ns < first->since_ns))
			first = r;
		*next_ns = min_u64(*next_ns, r->due_ns);
	}
	return first;
}

static struct request *take(struct live *live, uint64_t *next_ns)
{
	struct request *request;

	pthread_mutex_lock(&live->lock);
	request = find_due(live, clock_now_ns(), next_ns);
	if (request && live->filling + 1 < LIVE_THREADS) {
		request->filling = true;
		live->filling++;
	} else if (request) {
		request = NULL;
		*next_ns = UINT64_MAX; /* whoever is ready first takes it */
	}
	pthread_mutex_unlock(&live->lock);
	return request;
}

/*
 * Nothing is placed between the reading of a message and this: what it asks for would be there, and its request gone,
 * so that the source would be asked again.
 */
void live_fault_note(struct live *live, uint32_t space, uint64_t address)
{
	struct waiter waiter = {space, round_down(address, page_size())};
	const struct live_piece *piece = live_table_find(live_table(live), space, waiter.address);
	uint64_t block = NO_BLOCK;
	struct request *r;
	bool noted;

	if (piece)
		block = (waiter.address - piece->region.start + piece->offset) / live->options->block_bytes;
	atomic_fetch_add(&live->shared->faults, 1);
	pthread_mutex_lock(&live->lock);
	for (r = live->requests; r; r = r->next)
		if (r->block == block && block != NO_BLOCK)
			break;
	if (r)
		atomic_fetch_add(&live->shared->joined, 1);
	noted = r ? add_waiter(r, waiter) : new_request(live, block, waiter) != NULL;
	pthread_mutex_unlock(&live->lock);
	if (!noted) /* no memory: it faults again */
		uffd_wake(live_table(live)->uffd[space], (struct region){waiter.address, waiter.address + page_size()});
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

struct request *live_fault_next(struct live *live)
{
	uint64_t next_ns;
	struct request *request = take(live, &next_ns);

	if (request)
		return request;
	pthread_mutex_lock(&live->lead);
	while (!atomic_load(&live->quiet) && !(request = take(live, &next_ns))) {
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

void live_fault_again(struct live *live, struct request *request, unsigned int after_ms)
{
	pthread_mutex_lock(&live->lock);
	request->filling = false;
	request->due_ns = clock_now_ns() + after_ms * UINT64_C(1000000);
	live->filling--;
	pthread_mutex_unlock(&live->lock);
	eventfd_write(live->poke, 1);
}

bool live_fault_done(struct live *live, struct request *request, size_t served)
{
	struct latency latency = {live->shared->fills, &live->shared->fill_max_ns};
	bool done;

	pthread_mutex_lock(&live->lock);
	done = request->count == served;
	if (done) {
		struct request **at = &live->requests;

		while (*at != request)
			at = &(*at)->next;
		*at = request->next;
		if (request->block != NO_BLOCK)
			latency_add(&latency, clock_now_ns() - request->since_ns);
		live->filling--;
	}
	pthread_mutex_unlock(&live->lock);
	if (done)
		free_request(request);
	return done;
}
