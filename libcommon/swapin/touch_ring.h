/* SPDX-License-Identifier: MIT */
/* Which pages are asked for, remembered until a client has been told. */
#pragma once

#include "pager/pager.h"

struct touch {
	uint64_t address; /* of the page; bits of enum touch_flags below */
	uint64_t ns;
	uint32_t tid;
};

enum touch_flags {
	TOUCH_WRITE = 1,
	TOUCH_OUT = 2, /* the page was out, or on its way back */
};

/* Under the pager's lock. */
struct touch_ring {
	const struct region_vec *regions; /* borrowed: sorted, without overlaps; NULL: all memory */
	struct touch *touches;
	size_t first, count;
	uint64_t lost; /* found no room */
};

/* Returns 0 or -ENOMEM. */
int touch_ring_init(struct touch_ring *ring, const struct region_vec *regions);
void touch_ring_free(struct touch_ring *ring);

/*
 * A fault of the target's own address space was read from its descriptor. Never waits for the client: a touch that
 * finds no room is counted as lost.
 */
void touch_ring_note(struct pager *pager, uint64_t address, uint32_t tid, bool write, uint64_t now_ns);

/* Takes the oldest ones out of the ring, so many at most. Returns how many; *lost: those that found no room since. */
size_t touch_ring_take(struct pager *pager, struct touch_ring *ring, struct touch *touches, size_t most,
		       uint64_t *lost);
