/* SPDX-License-Identifier: MIT */
/*
 * The thread of a cache that asks its Cacheable: the only one that runs the program's code, and it holds no lock then.
 */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "space/cache.h"

/* Somebody else may have brought them since. */
static bool is_wanted(const struct uvm_cache *cache, struct region region)
{
	return memchr(cache->state + region.start / page_size(), PAGE_REQUESTED, region_bytes(region) / page_size());
}

static void ask(struct asker *asker)
{
	struct region region = asker->queue.items[0];
	struct uvm_cacheable *cacheable;
	struct uvm_cache *cache;
	uint64_t generation;
	int rc;

	region_vec_remove(&asker->queue, region);
	if (!is_wanted(asker->cache, region))
		return;
	cache = uvm_cache_ref(asker->cache);
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
static void *run(void *argument)
{
	struct asker *asker = argument;

	for (;;) {
		graph_lock();
		while (asker->cache && !asker->queue.count)
			pthread_cond_wait(&asker->wanted, &graph_mutex);
		if (!asker->cache)
			break;
		ask(asker);
		graph_unlock();
	}
	graph_unlock();
	region_vec_free(&asker->queue);
	pthread_cond_destroy(&asker->wanted);
	free(asker);
	return NULL;
}

int asker_start(struct uvm_cache *cache)
{
	struct asker *asker = calloc(1, sizeof(*asker));

	if (!asker)
		return UVM_MEM_NO_MEMORY;
	pthread_cond_init(&asker->wanted, NULL);
	asker->cache = cache;
	if (watch_thread(run, asker) < 0) {
		pthread_cond_destroy(&asker->wanted);
		free(asker);
		return UVM_MEM_NO_MEMORY;
	}
	cache->asker = asker;
	return 0;
}

void asker_stop(struct asker *asker)
{
	asker->cache = NULL;
	pthread_cond_signal(&asker->wanted);
}

int asker_request(struct uvm_cache *cache, struct region region)
{
	if (region_vec_insert(&cache->asker->queue, region) < 0)
		return UVM_MEM_NO_MEMORY;
	for (uint64_t i = region.start / page_size(); i < region.end / page_size(); i++) {
		if (cache->state[i] != PAGE_ABSENT)
			continue;
		cache->state[i] = PAGE_REQUESTED;
		cache->requested++;
	}
	pthread_cond_signal(&cache->asker->wanted);
	return 0;
}
