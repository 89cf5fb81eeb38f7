/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/size.h"
#include "cache.h"
#include "front.h"
#include "table.h"

#define WIPE_MAX (1 * MiB) /* above it a zeroed block is not worth having all its pages touched */

struct heap_limits heap_limits = {.min = 64 * KiB, .cache = 64 * MiB, .maps = 16384};
bool heap_asked;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool held;    /* by this thread, or about to be */
static __thread bool forking; /* between the handlers before and after fork(2), where other handlers may allocate */

void heap_lock(void)
{
	if (forking)
		return;
	held = true;
	atomic_signal_fence(memory_order_seq_cst);
	pthread_mutex_lock(&lock);
}

void heap_unlock(void)
{
	if (forking)
		return;
	pthread_mutex_unlock(&lock);
	atomic_signal_fence(memory_order_seq_cst);
	held = false;
}

bool heap_fork_lock(void)
{
	if (held || forking)
		return false;
	pthread_mutex_lock(&lock);
	return forking = true;
}

void heap_fork_unlock(void)
{
	forking = false;
	pthread_mutex_unlock(&lock);
}

void heap_account(bool update)
{
	uvm_reclaim_ring_t ring = update && !forking ? cache_ring() : NULL;

	if (ring)
		uvm_reclaim_update_accounting(ring);
}

static void *address_of(const struct heap_block *block)
{
	return (void *)block_start(block); // NOLINT(performance-no-int-to-ptr)
}

/* The memory first, then the description: it belongs to nobody else meanwhile. */
static bool unmap_all(struct heap_block *list)
{
	bool any = list;

	for (const struct heap_block *block = list; block; block = block->next)
		block_unmap(block);
	heap_lock();
	while (list) {
		struct heap_block *next = list->next;

		block_drop(list);
		list = next;
	}
	heap_unlock();
	return any;
}

/*
 * Takes out what is too much, and some more, so that it is not too much again at once: bytes, or mappings, of which the
 * program needs others. Needs the lock.
 */
static struct heap_block *shrink_cache(bool *update)
{
	size_t keep = cache_bytes() > heap_limits.cache ? heap_limits.cache - heap_limits.cache / 8 : SIZE_MAX;
	size_t blocks = SIZE_MAX;

	if (block_count() > heap_limits.maps)
		blocks = cache_blocks() -
			 min_u64(cache_blocks(), block_count() - heap_limits.maps + heap_limits.maps / 16);
	return keep == SIZE_MAX && blocks == SIZE_MAX ? NULL : cache_shrink(keep, blocks, update);
}

/* What enters the ring while the process forks would be missing in the child's. */
void heap_keep(struct heap_block *block)
{
	struct heap_block *list = NULL;
	bool update = false;

	heap_lock();
	if (forking || block->size > heap_limits.cache || cache_put(block, &update) < 0) {
		block->next = NULL;
		list = block;
	} else {
		list = shrink_cache(&update);
	}
	heap_unlock();
	if (list)
		unmap_all(list);
	heap_account(update);
}

void heap_release(struct heap_block *block)
{
	if (forking || !front_put(block))
		heap_keep(block);
}

static bool give_all_back(void)
{
	bool update = false;
	struct heap_block *list;

	if (forking)
		return false;
	front_empty();
	heap_lock();
	list = cache_shrink(0, 0, &update);
	heap_unlock();
	return unmap_all(list);
}

bool heap_trim(void)
{
	uvm_reclaim_ring_t ring;
	bool any;

	if (forking)
		return false;
	front_empty();
	heap_lock();
	any = cache_bytes() > 0;
	ring = cache_ring();
	heap_unlock();
	return any && ring && uvm_reclaim_ring_flush(ring, UINT32_MAX) == UVM_RECLAIM_SUCCESS;
}

static struct heap_block *take_cached(size_t size, size_t alignment, enum contents *contents)
{
	struct heap_block *block = front_take(size, alignment);
	bool update = false;

	*contents = CONTENTS_OLD;
	if (block || forking)
		return block;
	heap_lock();
	block = cache_take(size, alignment, contents, &update);
	heap_unlock();
	heap_account(update);
	return block;
}

/* Of too many blocks each one may be a mapping: then there is none, and the program's allocator has its own ways. */
static struct heap_block *new_block(size_t size)
{
	struct heap_block *block;

	heap_lock();
	block = block_count() < 2 * heap_limits.maps ? block_new() : NULL;
	heap_unlock();
	if (block)
		block->size = size;
	return block;
}

static void drop_block(struct heap_block *block)
{
	heap_lock();
	block_drop(block);
	heap_unlock();
}

static struct heap_block *map_block(size_t size, size_t alignment)
{
	struct heap_block *block = new_block(size);
	uintptr_t start = block ? block_map(size, alignment) : 0;

	if (!start) {
		if (block)
			drop_block(block);
		return NULL;
	}
	atomic_store_explicit(&block->start, start, memory_order_relaxed);
	return block;
}

/*
 * A large block that was only partly touched must not come to be touched in full: its pages go, and come back zeroed,
 * madvise(2). They cannot from locked memory.
 */
static void wipe_block(const struct heap_block *block, size_t size, enum contents contents)
{
	if (contents == CONTENTS_ZERO)
		return;
	if (contents == CONTENTS_OLD && size <= WIPE_MAX) {
		memset(address_of(block), 0, size);
		return;
	}
	if (madvise(address_of(block), size, MADV_DONTNEED) < 0)
		memset(address_of(block), 0, size);
}

void *heap_allocate(size_t size, size_t alignment, bool zero)
{
	enum contents contents;
	struct heap_block *block;

	if (!heap_limits.min)
		heap_asked = true;
	if (!heap_limits.min || size > PTRDIFF_MAX || alignment > PTRDIFF_MAX)
		return NULL;
	size = round_up(size, page_size());
	block = take_cached(size, alignment, &contents);
	if (!block) {
		contents = CONTENTS_ZERO;
		block = map_block(size, alignment);
	}
	if (!block && give_all_back())
		block = map_block(size, alignment);
	if (!block)
		return NULL;
	if (zero)
		wipe_block(block, size, contents);
	if (table_set(block) < 0) {
		block->next = NULL;
		unmap_all(block);
		return NULL;
	}
	return address_of(block);
}

/* What is cut off becomes a block of its own. */
static void shrink_block(struct heap_block *block, size_t size)
{
	struct heap_block *rest;

	if (block->size - size < heap_limits.min)
		return;
	rest = new_block(block->size - size);
	if (!rest)
		return;
	atomic_store_explicit(&rest->start, block_start(block) + size, memory_order_relaxed);
	block->size = size;
	heap_keep(rest);
}

/* Another thread may be given the old address at once, so the table forgets it before. */
static int move_block(struct heap_block *block, size_t size)
{
	struct leaf *reserved = table_reserve();
	void *at;

	if (!reserved)
		return -ENOMEM;
	table_clear(block);
	at = mremap(address_of(block), block->size, size, MREMAP_MAYMOVE);
	if (at != MAP_FAILED) {
		atomic_store_explicit(&block->start, (uintptr_t)at, memory_order_relaxed);
		block->size = size;
	}
	table_set_reserved(block, reserved);
	return at == MAP_FAILED ? -ENOMEM : 0;
}

void *heap_resize(struct heap_block *block, size_t size)
{
	if (size > PTRDIFF_MAX)
		return NULL;
	size = round_up(size, page_size());
	if (size <= block->size)
		shrink_block(block, size);
	else if (move_block(block, size) < 0)
		return NULL;
	return address_of(block);
}
