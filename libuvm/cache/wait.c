/* SPDX-License-Identifier: MIT */
/* Waiting for pages of a cache. */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/size.h"
#include "cache/cache.h"
#include "graph/graph.h"

#define BLOCKERS_FEW 16

enum outcome {
	PENDING,
	ADDED = 1,
	FAILED = 2,
};

/* Goes on from the first page that had not come yet; one that came counts even if it was removed since. */
static enum outcome advance_left(const struct uvm_cache *cache, struct region *left)
{
	while (left->start < left->end && cache_has(&cache->mappable, left->start))
		left->start += page_size();
	if (left->start == left->end)
		return ADDED;
	return cache->state[left->start / page_size()] == PAGE_FAILED ? FAILED : PENDING;
}

static void forget_blocker(struct uvm_cache *cache, struct blocker *blocker)
{
	close(blocker->fd);
	LIST_REMOVE(blocker, of_cache);
	cache->blocker_count--;
	free(blocker);
}

static void end_blocker(struct uvm_cache *cache, struct blocker *blocker, enum outcome outcome)
{
	const uint64_t value = outcome;

	send(blocker->fd, &value, sizeof(value), MSG_NOSIGNAL);
	forget_blocker(cache, blocker);
}

void cache_notify(struct uvm_cache *cache)
{
	struct blocker *blocker = LIST_FIRST(&cache->blockers);

	pthread_cond_broadcast(&cache->changed);
	while (blocker) {
		struct blocker *next = LIST_NEXT(blocker, of_cache);
		enum outcome outcome = advance_left(cache, &blocker->left);

		if (outcome != PENDING)
			end_blocker(cache, blocker, outcome);
		blocker = next;
	}
}

void cache_end_blockers(struct uvm_cache *cache)
{
	pthread_cond_broadcast(&cache->changed);
	while (!LIST_EMPTY(&cache->blockers))
		end_blocker(cache, LIST_FIRST(&cache->blockers), FAILED);
}

int uvm_cache_block_on_region(struct uvm_cache *cache, struct uvm_region region)
{
	enum outcome outcome = PENDING;
	struct region left;
	uint64_t generation;
	int rc;

	graph_lock();
	generation = cache->generation;
	rc = cache_region(cache, region, &left);
	while (rc == 0 && (outcome = advance_left(cache, &left)) == PENDING) {
		graph_wait(&cache->changed);
		if (cache->generation != generation)
			rc = UVM_MEM_IO_ERROR;
	}
	graph_unlock();
	return rc == 0 && outcome == FAILED ? UVM_MEM_IO_ERROR : rc;
}

/* The program has closed every copy of its end. */
static bool is_closed(const struct blocker *blocker)
{
	struct pollfd end = {.fd = blocker->fd};

	return poll(&end, 1, 0) == 1 && end.revents & POLLHUP;
}

/* Looks each time their number has doubled, so that those that are closed are never more than the others. */
static void forget_closed(struct uvm_cache *cache)
{
	struct blocker *blocker = LIST_FIRST(&cache->blockers);

	if (cache->blocker_count < cache->blockers_checked)
		return;
	while (blocker) {
		struct blocker *next = LIST_NEXT(blocker, of_cache);

		if (is_closed(blocker))
			forget_blocker(cache, blocker);
		blocker = next;
	}
	cache->blockers_checked = 2 * cache->blocker_count + BLOCKERS_FEW;
}

/* Of a pair of sockets each end tells when the other one is closed. */
static int add_blocker(struct uvm_cache *cache, struct region region, int *fd)
{
	struct blocker *blocker = calloc(1, sizeof(*blocker));
	int ends[2];

	if (!blocker)
		return UVM_MEM_NO_MEMORY;
	forget_closed(cache);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		free(blocker);
		return UVM_MEM_NO_MEMORY;
	}
	blocker->left = region;
	blocker->fd = ends[0];
	*fd = ends[1];
	LIST_INSERT_HEAD(&cache->blockers, blocker, of_cache);
	cache->blocker_count++;
	cache_notify(cache);
	return 0;
}

int uvm_cache_region_blocker(struct uvm_cache *cache, struct uvm_region region, int *blocker)
{
	GRAPH_LOCKED;
	struct region at;
	int rc = cache_region(cache, region, &at);

	return rc == 0 ? add_blocker(cache, at, blocker) : rc;
}
