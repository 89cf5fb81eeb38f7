/* SPDX-License-Identifier: MIT */
/*
 * A few blocks that a thread has freed last, without a lock. They are not in the ring: they go to the cache when others
 * come, and when the thread ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "block.h"

/* Keeps a block; others make room for it. Whether it does: not one that is too large, nor at the end of the thread. */
bool front_put(struct heap_block *block);

/* The best fit, as cache_take() has it. */
struct heap_block *front_take(size_t size, size_t alignment);

/* Sends all of this thread's to the cache. Whether there were any. */
bool front_empty(void);

/*
 * Before the first thread: fronts of so many bytes at most, and what takes the blocks that leave one. Without it there
 * are no fronts.
 */
void front_start(size_t bytes, void (*to)(struct heap_block *block));
