/* SPDX-License-Identifier: MIT */
/* Single entries of another process's ring, as they are at an instant. */
#pragma once

#include "base/region.h"
#include "reclaim/find.h"

enum ring_state {
	RING_UNRECLAIMED, /* "unreclaimed": the program may take it back */
	RING_BUSY,        /* "busy": a reclaimer is at it, or was killed meanwhile */
	RING_RECLAIMED,   /* "reclaimed" */
	RING_HOLE,        /* "hole": taken back, its id free for another region */
};

/* The state as records spell it. */
const char *ring_state_name(enum ring_state state);

/* The action as records spell it: "free", "deallocate", or "unknown". */
const char *ring_action_name(uint32_t action);

/*
 * Which ids a walk over all entries meets: *first up to *end; *end is the next id, but for an instant. No more than the
 * ring has room for.
 */
void ring_ids(const struct ring_view *view, uint64_t *first, uint64_t *end);

/*
 * The entry of an id. Its contents mean nothing when it is reclaimed or a hole. Returns 0, or -ENOENT: this id was not
 * given out yet.
 */
int ring_entry_at(const struct ring_view *view, uint64_t id, enum ring_state *state, struct ring_work *work);

/*
 * The pages that reclaiming an entry gives back: whole pages inside for FREE (none is empty), all that it touches for
 * DEALLOCATE. Returns 0, or -EINVAL when no region can be where it says.
 */
int ring_region(const struct ring_work *work, struct region *region);
