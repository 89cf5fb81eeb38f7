/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: given out, taken back, made larger or smaller. What is given out is in the table; what is freed is in a
 * thread's front or in the cache.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "block.h"

struct heap_limits {
	size_t min;   /* bytes from which a block is large; SIZE_MAX: none is; 0: for a trial, see heap_asked */
	size_t cache; /* bytes that are kept at most */
	size_t maps;  /* our mappings above which freed blocks are given back; twice so many at most */
};

extern struct heap_limits heap_limits;

/* Whether a block was asked for while heap_limits.min was 0. */
extern bool heap_asked;

/* `size` bytes at a multiple of `alignment`, a power of two; zeroed if wanted. NULL when there is no memory. */
void *heap_allocate(size_t size, size_t alignment, bool zero);

/* Takes a block back that table_clear() has taken out of the table. */
void heap_release(struct heap_block *block);

/*
 * Gives a live block another size, at its place or by moving its pages. Returns where it is, or NULL: nothing has
 * changed.
 */
void *heap_resize(struct heap_block *block, size_t size);

/* Reclaims what is freed, all of it. Whether there was any. */
bool heap_trim(void);

/*
 * The one lock behind the fronts. A thread that is forking has it already: heap_fork_lock() says whether it got it so,
 * for it does not when a handler of a signal forks in the middle of what needs the lock.
 */
void heap_lock(void);
void heap_unlock(void);
bool heap_fork_lock(void);
void heap_fork_unlock(void);

/* What the ring asked for while the lock was held. Without the lock. */
void heap_account(bool update);

/* Puts a block into the cache, or unmaps it where there is no room. Without the lock. */
void heap_keep(struct heap_block *block);
