/* SPDX-License-Identifier: MIT */
/*
 * Blocks that the program has freed, in the ring: a process short of memory takes their contents, the program takes
 * them back. All of it needs the lock of heap.h, which is the caller's lock that the ring asks for.
 *
 * They are entered with the action FREE: a reclaimer drops the contents and the address stays ours. With DEALLOCATE an
 * entry that is wrong by anybody's mistake would cost the mapping that has come to its address since; with FREE nothing
 * can come there. It also saves the mmap(2) of the next block. The address space that is kept is bounded by
 * cache_limit().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "block.h"

enum contents {
	CONTENTS_ZERO,   /* fresh from the kernel */
	CONTENTS_OLD,    /* what the program left there */
	CONTENTS_DROPPED /* a reclaimer has been there: zeros or not */
};

/*
 * Puts a freed block in. Returns 0; -ENOSPC when the ring is full, -ENOSYS when there is none or none any more: the
 * block stays the caller's. *update: see heap_account().
 */
int cache_put(struct heap_block *block, bool *update);

/*
 * Takes the best fit out: at least `size` bytes and at most a quarter more, at a multiple of `alignment`. NULL when
 * there is none that is not being reclaimed just now.
 */
struct heap_block *cache_take(size_t size, size_t alignment, enum contents *contents, bool *update);

/*
 * Takes out the oldest blocks, until at most `keep` bytes and `blocks` blocks are left, for the caller to unmap: a list
 * by `next`. Those being reclaimed just now stay.
 */
struct heap_block *cache_shrink(size_t keep, size_t blocks, bool *update);

/* What is in the cache, reclaimed or not. */
size_t cache_bytes(void);
size_t cache_blocks(void);

/* Whether this process may have the file of a ring: one larger than RLIMIT_FSIZE is a signal, setrlimit(2). */
bool cache_ring_may_be(void);

/* The ring, when there is one: for calls that need no lock. */
uvm_reclaim_ring_t cache_ring(void);
