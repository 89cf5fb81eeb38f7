/* SPDX-License-Identifier: MIT */
/* Bins of freed blocks by size, eight to a doubling, the latest first; and all of them by age. */
#include "cache.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/size.h"
#include "ring/ring.h"
#include "table.h"

#define LOWEST       GRANULE_SHIFT
#define BINS         ((32 - LOWEST) * 8)
#define LOOK         32 /* blocks of a bin that are compared */
#define BUSY_TRIES   4
#define CAPACITY     4096                /* of the ring at first */
#define MAX_CAPACITY (1U << 18)          /* a ring of 4 MiB, of which what is used takes memory */
#define RING_FILE    (UINT64_C(8) << 20) /* no less than its file is large */
#define GROW_EVERY   4096                /* blocks that do not fit, after the first that could not be helped */
#define GROW_WAIT_MS 10                  /* for who reclaims just then: all other threads wait for the one that frees */
#define ACTION       UVM_RECLAIM_FREE

TAILQ_HEAD(blocks, heap_block);

static struct {
	bool ready;
	atomic_bool broken; /* the ring said what it never should: nothing that may be in it is used again */
	uvm_reclaim_ring_t ring;
	uvm_reclaim_count_t max_capacity;
	uvm_reclaim_id_t *holes; /* ids of cancelled entries, to be used again: otherwise the ring fills with holes */
	size_t hole_count;
	unsigned int grow_later; /* the ring was held for long: blocks to come before it is tried again */
	uint64_t takes;
	size_t bytes, blocks;
	struct blocks bins[BINS];
	struct blocks ages; /* oldest first */
} cache;

static unsigned int bin_of(size_t size)
{
	unsigned int top = 63 - (unsigned int)__builtin_clzl(size);

	return (top - LOWEST) * 8 + (unsigned int)(size >> (top - 3) & 7);
}

bool cache_ring_may_be(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == 0 && (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= RING_FILE);
}

static bool ring_make(void)
{
	uvm_reclaim_count_t capacity = uvm_reclaim_round_capacity(CAPACITY);

	cache.max_capacity = uvm_reclaim_round_capacity(MAX_CAPACITY);
	cache.holes = mmap(NULL, cache.max_capacity * sizeof(*cache.holes), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (cache.holes == MAP_FAILED)
		return false;
	return uvm_reclaim_ring_allocate(&cache.ring, capacity, cache.max_capacity) == UVM_RECLAIM_SUCCESS;
}

/* Made with the first block that is freed: most programs that run for a moment never free one. */
static bool cache_ready(void)
{
	if (!cache.ready) {
		cache.ready = true;
		for (size_t i = 0; i < BINS; i++)
			TAILQ_INIT(&cache.bins[i]);
		TAILQ_INIT(&cache.ages);
		cache.broken = !cache_ring_may_be() || !ring_make();
	}
	return !cache.broken;
}

/* What has been in the ring may be there still: from here on it is neither used nor unmapped, at worst a leak. */
static void give_up(void)
{
	cache.broken = true;
}

static void hole_push(uvm_reclaim_id_t id)
{
	if (cache.hole_count == cache.max_capacity)
		cache.hole_count = 0; /* most of them were reclaimed long ago */
	cache.holes[cache.hole_count++] = id;
}

static int ring_enter(struct heap_block *block, uvm_reclaim_id_t *id, bool *update)
{
	bool due = false;
	int error = uvm_reclaim_try_enter(cache.ring, block_start(block), block->size, ACTION, id, &due);

	*update |= due;
	if (error == UVM_RECLAIM_SUCCESS)
		return *id == UVM_RECLAIM_ID_NULL ? -ENOSPC : 0;
	give_up();
	return -ENOSYS;
}

/* In the place that was left last, when it is still to be had: an id that is old by then is only reclaimed earlier. */
static int ring_enter_somewhere(struct heap_block *block, bool *update)
{
	int rc;

	while (cache.hole_count) {
		block->id = cache.holes[--cache.hole_count];
		rc = ring_enter(block, &block->id, update);
		if (rc != -ENOSPC)
			return rc;
	}
	block->id = UVM_RECLAIM_ID_NULL;
	return ring_enter(block, &block->id, update);
}

/*
 * Reclaims all that is in it. Whatever hinders it, another one that reclaims or a descriptor that the program has
 * closed, the ring stays as it is.
 */
static bool ring_grow(void)
{
	uvm_reclaim_count_t now;
	uvm_reclaim_count_t larger;

	if (cache.grow_later && cache.grow_later--)
		return false;
	if (uvm_reclaim_ring_capacity(cache.ring, &now) != UVM_RECLAIM_SUCCESS)
		return false;
	larger = now < cache.max_capacity / 2 ? now * 2 : cache.max_capacity;
	if (larger <= now || ring_resize(cache.ring, larger, GROW_WAIT_MS) != UVM_RECLAIM_SUCCESS) {
		cache.grow_later = GROW_EVERY;
		return false;
	}
	cache.hole_count = 0;
	return true;
}

int cache_put(struct heap_block *block, bool *update)
{
	int rc;

	if (!cache_ready())
		return -ENOSYS;
	if (block->size > UVM_RECLAIM_REGION_SIZE_MAX)
		return -ENOSPC;
	rc = ring_enter_somewhere(block, update);
	if (rc == -ENOSPC && ring_grow())
		rc = ring_enter_somewhere(block, update);
	if (rc < 0)
		return rc;
	TAILQ_INSERT_HEAD(&cache.bins[bin_of(block->size)], block, bin);
	TAILQ_INSERT_TAIL(&cache.ages, block, age);
	cache.bytes += block->size;
	cache.blocks++;
	return 0;
}

static void cache_remove(struct heap_block *block)
{
	TAILQ_REMOVE(&cache.bins[bin_of(block->size)], block, bin);
	TAILQ_REMOVE(&cache.ages, block, age);
	cache.bytes -= block->size;
	cache.blocks--;
}

/* Takes a block out of the ring and of the cache. Returns 0, -EBUSY, or -ENOSYS: then it stays where it is for ever. */
static int cache_cancel(struct heap_block *block, enum contents *contents, bool *update)
{
	uvm_reclaim_state_t state;
	bool due = false;
	int error =
		uvm_reclaim_try_cancel(cache.ring, block->id, block_start(block), block->size, ACTION, &state, &due);

	*update |= due;
	if (error == UVM_RECLAIM_SUCCESS && state == UVM_RECLAIM_BUSY) {
		block->asked = cache.takes;
		return -EBUSY;
	}
	if (error != UVM_RECLAIM_SUCCESS || !uvm_reclaim_is_reusable(state)) {
		give_up();
		return -ENOSYS;
	}
	if (state == UVM_RECLAIM_UNRECLAIMED)
		hole_push(block->id);
	*contents = state == UVM_RECLAIM_UNRECLAIMED ? CONTENTS_OLD : CONTENTS_DROPPED;
	cache_remove(block);
	return 0;
}

/* The smallest of a bin's latest that will do, leaving out those that were busy a moment ago. */
static struct heap_block *best_of(const struct blocks *bin, size_t size, size_t most, size_t alignment)
{
	struct heap_block *best = NULL;
	struct heap_block *block;
	unsigned int looked = 0;

	TAILQ_FOREACH(block, bin, bin)
	{
		if (looked++ == LOOK)
			break;
		if (block->size < size || block->size > most || block_start(block) & (alignment - 1) ||
		    block->asked == cache.takes)
			continue;
		if (!best || block->size < best->size)
			best = block;
		if (best->size == size)
			break;
	}
	return best;
}

struct heap_block *cache_take(size_t size, size_t alignment, enum contents *contents, bool *update)
{
	size_t most = min_u64(size + size / 4, UVM_RECLAIM_REGION_SIZE_MAX);
	unsigned int tries = BUSY_TRIES;
	struct heap_block *block;

	if (!cache.bytes || cache.broken || size > most)
		return NULL;
	cache.takes++;
	for (unsigned int i = bin_of(size); i <= bin_of(most); i++)
		while ((block = best_of(&cache.bins[i], size, most, alignment))) {
			int rc = cache_cancel(block, contents, update);

			if (rc == 0)
				return block;
			if (rc != -EBUSY || --tries == 0)
				return NULL;
		}
	return NULL;
}

struct heap_block *cache_shrink(size_t keep, size_t blocks, bool *update)
{
	unsigned int tries = BUSY_TRIES * 8;
	struct heap_block *list = NULL;
	enum contents contents;
	struct heap_block *block;
	struct heap_block *next;

	if (!cache.bytes || cache.broken)
		return NULL;
	for (block = TAILQ_FIRST(&cache.ages); block && (cache.bytes > keep || cache.blocks > blocks); block = next) {
		int rc;

		next = TAILQ_NEXT(block, age);
		rc = cache_cancel(block, &contents, update);
		if (rc == 0) {
			block->next = list;
			list = block;
		} else if (rc != -EBUSY || --tries == 0) {
			break;
		}
	}
	return list;
}

size_t cache_bytes(void)
{
	return cache.bytes;
}

size_t cache_blocks(void)
{
	return cache.blocks;
}

uvm_reclaim_ring_t cache_ring(void)
{
	return cache.broken ? NULL : cache.ring;
}
