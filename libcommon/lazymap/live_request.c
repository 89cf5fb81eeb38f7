/* SPDX-License-Identifier: MIT */
/* The blocks that a thread waits for, from the message that asked for one until it is there. */
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/size.h"
#include "lazymap/live_request.h"
#include "lazymap/live_state.h"
#include "uffd/uffd.h"

void live_request_init(struct live *live)
{
	pthread_mutex_init(&live->queue.lock, NULL);
	live->queue.requests = NULL;
	live->queue.filling = 0;
}

static bool add_waiter(struct live_request *request, struct waiter waiter)
{
	if (array_reserve(&request->waiters, request->count, &request->size) < 0)
		return false;
	request->waiters[request->count++] = waiter;
	return true;
}

static void free_request(struct live_request *request)
{
	free(request->waiters);
	free(request);
}

static struct live_request *new_request(struct live *live, uint64_t block, struct waiter waiter)
{
	struct live_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->block = block;
	request->since_ns = clock_now_ns();
	request->due_ns = request->since_ns + (block == NO_BLOCK ? 0 : live->options->delay_ms * 1000000);
	if (!add_waiter(request, waiter)) {
		free_request(request);
		return NULL;
	}
	request->next = live->queue.requests;
	live->queue.requests = request;
	return request;
}

/* In the order they came, so far as they are due. `lock` is held. */
static struct live_request *find_due(const struct live *live, uint64_t now, uint64_t *next_ns)
{
	struct live_request *first = NULL;

	*next_ns = UINT64_MAX;
	for (struct live_request *r = live->queue.requests; r; r = r->next) {
		if (r->filling)
			continue;
		if (r->due_ns <= now && (!first || r->since_ns < first->since_ns))
			first = r;
		*next_ns = min_u64(*next_ns, r->due_ns);
	}
	return first;
}

struct live_request *live_request_take(struct live *live, uint64_t *next_ns)
{
	struct live_request *request;

	pthread_mutex_lock(&live->queue.lock);
	request = find_due(live, clock_now_ns(), next_ns);
	if (request && live->queue.filling + 1 < LIVE_THREADS) {
		request->filling = true;
		live->queue.filling++;
	} else if (request) {
		request = NULL;
		*next_ns = UINT64_MAX; /* the worker that is ready first takes it */
	}
	pthread_mutex_unlock(&live->queue.lock);
	return request;
}

/*
 * Nothing is placed between the reading of a message and this: what it asks for would be there, and its request gone,
 * so that the source would be asked again.
 */
void live_request_note(struct live *live, uint32_t space, uint64_t address)
{
	struct waiter waiter = {space, round_down(address, page_size())};
	const struct live_piece *piece = live_table_find(live_table(live), space, waiter.address);
	uint64_t block = NO_BLOCK;
	struct live_request *r;
	bool noted;

	if (piece)
		block = (waiter.address - piece->region.start + piece->offset) / live->options->block_bytes;
	atomic_fetch_add(&live->shared->counts.faults, 1);
	pthread_mutex_lock(&live->queue.lock);
	for (r = live->queue.requests; r; r = r->next)
		if (r->block == block && block != NO_BLOCK)
			break;
	if (r)
		atomic_fetch_add(&live->shared->counts.joined, 1);
	noted = r ? add_waiter(r, waiter) : new_request(live, block, waiter) != NULL;
	pthread_mutex_unlock(&live->queue.lock);
	if (!noted) /* no memory: it faults again */
		uffd_wake(live_table(live)->uffd[space], region_at(waiter.address, page_size()));
}

void live_request_again(struct live *live, struct live_request *request, unsigned int after_ms)
{
	pthread_mutex_lock(&live->queue.lock);
	request->filling = false;
	request->due_ns = clock_now_ns() + after_ms * UINT64_C(1000000);
	live->queue.filling--;
	pthread_mutex_unlock(&live->queue.lock);
	eventfd_write(live->poke, 1);
}

bool live_request_done(struct live *live, struct live_request *request, size_t served)
{
	struct latency latency = {live->shared->fills, &live->shared->fill_max_ns};
	bool done;

	pthread_mutex_lock(&live->queue.lock);
	done = request->count == served;
	if (done) {
		struct live_request **at = &live->queue.requests;

		while (*at != request)
			at = &(*at)->next;
		*at = request->next;
		if (request->block != NO_BLOCK)
			latency_add(&latency, clock_now_ns() - request->since_ns);
		live->queue.filling--;
	}
	pthread_mutex_unlock(&live->queue.lock);
	if (done)
		free_request(request);
	return done;
}
