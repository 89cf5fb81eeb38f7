/* SPDX-License-Identifier: MIT */
/*
 * One large block: a private anonymous mapping of its own, described outside of it, so that neither a reclaimer nor a
 * wild write of the program changes what is known of it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uvm/reclaim.h>

struct heap_block {
	_Atomic uintptr_t start; /* at a page */
	size_t size;             /* whole pages */
	uvm_reclaim_id_t id;     /* in the ring, while the block is in the cache */
	uint64_t asked;          /* when it was found busy: cache_take()'s count */
	TAILQ_ENTRY(heap_block) bin;
	TAILQ_ENTRY(heap_block) age;
	struct heap_block *next; /* in a list of blocks that belong to nobody else */
};

static inline uintptr_t block_start(const struct heap_block *block)
{
	return atomic_load_explicit(&block->start, memory_order_relaxed);
}

/*
 * An empty description, or NULL without memory. Needs the lock, as block_drop() does. Descriptions are never given back
 * to the kernel: table_find() may be reading one.
 */
struct heap_block *block_new(void);
void block_drop(struct heap_block *block);

/* How many descriptions are given out: that many mappings there are at most. Needs the lock. */
size_t block_count(void);

/* Maps `size` bytes (whole pages) at a multiple of `alignment` (a power of two). Returns the address, or 0. */
uintptr_t block_map(size_t size, size_t alignment);

/* Gives the memory back to the kernel, not the description. */
void block_unmap(const struct heap_block *block);
