/* SPDX-License-Identifier: MIT */
/* From the source into pages. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* A block of the object in the memory of one thread. */
struct live_block {
	uint64_t number;
	uint64_t offset;
	size_t bytes;        /* whole pages */
	size_t valid;        /* bytes that are known, whole pages; what is behind them is poisoned */
	unsigned char *data; /* block_bytes */
};

/* Returns 0 (some of it may not be valid), or -EAGAIN. */
int live_fill_read(struct live *live, struct live_block *block);

/* Places what the block and the piece at the address have in common. Threads that wait there go on, or ask again. */
void live_fill_place(struct live *live, const struct live_block *block, struct waiter waiter);

/* Another thread has placed it already: waiting threads check again. */
void live_fill_wake(struct live *live, struct waiter waiter);

/* Poisons all that is missing in a region. */
void live_fill_poison(struct live *live, int uffd, struct region region);

/*
 * A page that shows no part of the object. Returns 0, or -EAGAIN while an event is unread. `held_up`: for so long that
 * it is the fault the event waits for. mremap(2) of locked memory fills what it has grown by before it says that it has
 * moved it (mm/mremap.c, do_mremap): the kernel may give it the zeros.
 */
int live_fill_stray(struct live *live, struct waiter waiter, bool held_up);

/*
 * Everything that is missing everywhere is filled or poisoned, and nothing is registered any more: what the
 * target does then waits for nobody.
 */
void live_end_all(struct live *live);
