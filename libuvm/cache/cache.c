/* SPDX-License-Identifier: MIT */
/* Cache: memory whose missing pages ask a Cacheable. */
#include "cache/cache.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/size.h"
#include "cache/cacheable.h"
#include "graph/graph.h"
#include "graph/mappable.h"
#include "graph/watch.h"
#include "uffd/uffd.h"

static struct uvm_cache *cache_of(struct uvm_mappable *mappable)
{
	return (struct uvm_cache *)mappable;
}

static uint8_t state_of(const struct uvm_mappable *mappable, uint64_t offset)
{
	return ((const struct uvm_cache *)mappable)->state[offset / page_size()];
}

static bool is_usable(const struct uvm_mappable *mappable)
{
	return ((const struct uvm_cache *)mappable)->cacheable;
}

static void empty_cache(struct uvm_cache *cache)
{
	cache_end_blockers(cache);
	cache->requester->queue.count = 0;
	if (cache->alias)
		munmap(cache->alias, cache->mappable.bytes);
	mappable_fini(&cache->mappable);
	free(cache->state);
	cacheable_put(cache->cacheable);
	cache->generation++;
	cache->mappable.fd = -1;
	cache->mappable.bytes = 0;
	cache->alias = NULL;
	cache->state = NULL;
	cache->cacheable = NULL;
}

void cache_free(struct uvm_mappable *mappable)
{
	struct uvm_cache *cache = cache_of(mappable);

	empty_cache(cache);
	requester_stop(cache->requester);
	pthread_cond_destroy(&cache->changed);
	free(cache);
}

/* A page that is not there was touched. */
void cache_missing(struct uvm_mappable *mappable, uint64_t offset, uint64_t address)
{
	struct uvm_cache *cache = cache_of(mappable);
	uint64_t unit = max_u64(page_size(), cache->cacheable->unit);
	uint64_t start = round_down(offset, unit);
	struct region at = region_at(address, page_size());
	size_t done;

	switch (state_of(mappable, offset)) {
	case PAGE_REQUESTED:
		return;
	case PAGE_ABSENT:
		if (requester_request(cache, (struct region){start, min_u64(start + unit, mappable->bytes)}) == 0)
			return;
		break;
	case PAGE_FAILED:
		uffd_poison(watch_fd(), address, page_size(), &done);
		break;
	default:
		break;
	}
	uffd_wake(watch_fd(), at);
}

static const struct mappable_ops cache_ops = {
	.free = cache_free,
	.usable = is_usable,
	.has = cache_has,
	.missing = cache_missing,
};

int cache_make(const struct mappable_ops *ops, struct uvm_cache **cache)
{
	struct uvm_cache *new = calloc(1, sizeof(*new));
	int rc = new ? watch_start() : UVM_MEM_NO_MEMORY;

	if (rc == 0 && !watch_poisons())
		rc = UVM_MEM_OPERATION_NOT_SUPPORTED;
	if (rc == 0)
		rc = requester_start(new);
	if (rc < 0) {
		free(new);
		return rc;
	}
	mappable_init(&new->mappable, KIND_CACHE, ops, 0);
	pthread_cond_init(&new->changed, NULL);
	LIST_INIT(&new->blockers);
	*cache = new;
	return 0;
}

int uvm_cache_create(struct uvm_cache **cache)
{
	GRAPH_LOCKED;

	return cache_make(&cache_ops, cache);
}

struct uvm_cache *uvm_cache_ref(struct uvm_cache *cache)
{
	uvm_mappable_ref(&cache->mappable);
	return cache;
}

void uvm_cache_unref(struct uvm_cache *cache)
{
	uvm_mappable_unref((struct uvm_mappable *)cache);
}

int uvm_cache_get_mappable(struct uvm_cache *cache, struct uvm_mappable **mappable)
{
	*mappable = uvm_mappable_ref(&cache->mappable);
	return 0;
}

/* Nobody can touch this mapping: it is watched only because the kernel puts pages where a mapping is watched. */
static int map_alias(struct uvm_cache *cache)
{
	uint64_t bytes = cache->mappable.bytes;
	char *alias = mmap(NULL, bytes, PROT_NONE, MAP_SHARED, cache->mappable.fd, 0);
	struct region at = region_at((uintptr_t)alias, bytes);

	if (alias == MAP_FAILED)
		return UVM_MEM_NO_MEMORY;
	cache->alias = alias;
	if (madvise(alias, bytes, MADV_DONTFORK) < 0 || uffd_register_missing(watch_fd(), at) < 0)
		return UVM_MEM_NO_MEMORY;
	return 0;
}

int cache_prepare(struct uvm_cache *cache, struct uvm_cacheable *cacheable)
{
	int rc;

	cache->mappable.bytes = round_up(cacheable->blocks * cacheable->block, page_size());
	cache->cacheable = uvm_cacheable_ref(cacheable);
	cache->state = calloc(cache->mappable.bytes / page_size(), 1);
	rc = cache->state ? mappable_make_memfd(&cache->mappable, "uvm-cache") : UVM_MEM_NO_MEMORY;
	return rc ? rc : map_alias(cache);
}

int uvm_cache_set_cacheable(struct uvm_cache *cache, struct uvm_cacheable *cacheable)
{
	GRAPH_LOCKED;
	int rc;

	if (!LIST_EMPTY(&cache->mappable.above) || !LIST_EMPTY(&cache->mappable.frozen_for) || cache->requested)
		return UVM_MEM_INVALID_STATE;
	empty_cache(cache);
	rc = cacheable ? cache_prepare(cache, cacheable) : 0;
	if (rc < 0)
		empty_cache(cache);
	return rc;
}

int uvm_cache_get_cacheable(struct uvm_cache *cache, struct uvm_cacheable **cacheable)
{
	GRAPH_LOCKED;

	*cacheable = cache->cacheable ? uvm_cacheable_ref(cache->cacheable) : NULL;
	return 0;
}
