/* Waiting for pages of a cache. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "space/cache.h"

enum outcome {
	PENDING,
	ADDED = 1,
	FAILED = 2,
};

/* Goes on from the first page that had not come yet; one that came counts even if it was removed since. */
static enum outcome advance(const struct uvm_cache *cache, struct region *left)
{
	while (left->start < left->end && cache_has(&cache->mappable, left->start))
		left->start += page_size();
	if (left->start == left->end)
		return ADDED;
	return cache->state[left->start / page_size()] == PAGE_FAILED ? FAILED : PENDING;
}

static void end(struct blocker *blocker, enum outcome outcome)
{
	eventfd_write(blocker->fd, outcome);
	close(blocker->fd);
	LIST_REMOVE(blocker, of_cache);
	free(blocker);
}

void cache_notify(struct uvm_cache *cache)
{
	struct blocker *blocker = LIST_FIRST(&cache->blockers);

	pthread_cond_broadcast(&cache->changed);
	while (blocker) {
		struct blocker *next = LIST_NEXT(blocker, of_cache);
		enum outcome outcome = advance(cache, &blocker->left);

		if (outcome != PENDING)
			end(blocker, outcome);
		blocker = next;
	}
}

void cache_end_blockers(struct uvm_cache *cache)
{
	pthread_cond_broadcast(&cache->changed);
	while (!LIST_EMPTY(&cache->blockers))
		end(LIST_FIRST(&cache->blockers), FAILED);
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
	while (rc == 0 && (outcome = advance(cache, &left)) == PENDING) {
		pthread_cond_wait(&cache->changed, &graph_mutex);
		if (cache->generation != generation)
			rc = UVM_MEM_IO_ERROR;
	}
	graph_unlock();
	return rc == 0 && outcome == FAILED ? UVM_MEM_IO_ERROR : rc;
}

static int add_blocker(struct uvm_cache *cache, struct region region, int *fd)
{
	struct blocker *blocker = calloc(1, sizeof(*blocker));

	if (!blocker)
		return UVM_MEM_NO_MEMORY;
	blocker->left = region;
	blocker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*fd = blocker->fd < 0 ? -1 : fcntl(blocker->fd, F_DUPFD_CLOEXEC, 0);
	if (*fd < 0) {
		cleanup_close(&blocker->fd);
		free(blocker);
		return UVM_MEM_NO_MEMORY;
	}
	LIST_INSERT_HEAD(&cache->blockers, blocker, of_cache);
	cache_notify(cache);
	return 0;
}

int uvm_cache_region_blocker(struct uvm_cache *cache, struct uvm_region region, int *blocker)
{
	struct region at;
	int rc;

	graph_lock();
	rc = cache_region(cache, region, &at);
	if (rc == 0)
		rc = add_blocker(cache, at, blocker);
	graph_unlock();
	return rc;
}
