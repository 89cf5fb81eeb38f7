/* SPDX-License-Identifier: MIT */
/*
 * The thread of a cache that asks its Cacheable: the only one that runs the program's code, and it holds no lock then.
 */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "cache/cache.h"
#include "cache/cacheable.h"
#include "graph/graph.h"
#include "graph/watch.h"

/* They may have been brought since. */
static bool is_wanted(const struct uvm_cache *cache, struct region region)
{
	return memchr(cache->state + region.start / page_size(), PAGE_REQUESTED, region_bytes(region) / page_size());
}

static void ask_cacheable(struct requester *requester)
{
	struct region region = requester->queue.items[0];
	struct uvm_cacheable *cacheable;
	struct uvm_cache *cache;
	uint64_t generation;
	int rc;

	region_vec_remove(&requester->queue, region);
	if (!is_wanted(requester->cache, region))
		return;
	cache = requester->cache;
	uvm_mappable_ref(&cache->mappable);
	cacheable = uvm_cacheable_ref(cache->cacheable);
	generation = cache->generation;
	graph_unlock();
	rc = cacheable->ops.fill(cacheable->context, cache, (struct uvm_region){region.start, region.end - 1});
	graph_lock();
	if (rc && cache->generation == generation)
		cache_fail(cache, region);
	cacheable_put(cacheable);
	mappable_put(&cache->mappable);
}

/* Unlocking after each, so that what the program gave is released. */
static void *run_requester(void *argument)
{
	struct requester *requester = argument;

	for (;;) {
		graph_lock();
		while (requester->cache && !requester->queue.count)
			pthread_cond_wait(&requester->wanted, &graph_mutex);
		if (!requester->cache)
			break;
		ask_cacheable(requester);
		graph_unlock();
	}
	graph_unlock();
	region_vec_free(&requester->queue);
	pthread_cond_destroy(&requester->wanted);
	free(requester);
	return NULL;
}

int requester_start(struct uvm_cache *cache)
{
	struct requester *requester = calloc(1, sizeof(*requester));

	if (!requester)
		return UVM_MEM_NO_MEMORY;
	pthread_cond_init(&requester->wanted, NULL);
	requester->cache = cache;
	if (watch_thread(run_requester, requester) < 0) {
		pthread_cond_destroy(&requester->wanted);
		free(requester);
		return UVM_MEM_NO_MEMORY;
	}
	cache->requester = requester;
	return 0;
}

void requester_stop(struct requester *requester)
{
	requester->cache = NULL;
	pthread_cond_signal(&requester->wanted);
}

int requester_request(struct uvm_cache *cache, struct region region)
{
	if (region_vec_insert(&cache->requester->queue, region) < 0)
		return UVM_MEM_NO_MEMORY;
	for (uint64_t i = region.start / page_size(); i < region.end / page_size(); i++) {
		if (cache->state[i] != PAGE_ABSENT)
			continue;
		cache->state[i] = PAGE_REQUESTED;
		cache->requested++;
	}
	pthread_cond_signal(&cache->requester->wanted);
	return 0;
}
