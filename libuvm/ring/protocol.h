/* SPDX-License-Identifier: MIT */
/* The reclaimers' half of the ring's protocol: which entries may be reclaimed now. The program's half is ring.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring/layout.h"

/* A mapped ring. Sizes are what the mapping has, not what the ring says. */
struct ring_view {
	struct ring_shared *shared;
	uint32_t max_capacity; /* entries that the mapping has room for */
};

/* One region to reclaim, copied out of the ring. */
struct ring_work {
	uint64_t id;
	uint64_t address;
	uint32_t size;
	uint32_t action;     /* UVM_RECLAIM_FREE or _DEALLOCATE */
	bool maybe_unmapped; /* a reclaimer that died may have unmapped it, and something else may be there now */
};

struct ring_batch {
	uint64_t head, end; /* ids claimed: head up to end */
	unsigned int count; /* without holes */
	struct ring_work work[RING_BATCH];
};

/*
 * Whether it is a ring of this version whose indices can be: head <= busy <= tail (tail may be lower for a moment),
 * capacity in range. Without the lock too. Returns 0 or -EBADMSG.
 */
int ring_view_check(const struct ring_view *view);

/*
 * Claims up to `most` entries (RING_BATCH at most) from the oldest end; first those that a reclaimer which died had
 * claimed. Needs the reclaimers' lock. Returns 1; 0 when there is nothing (more) to claim or the program is cancelling
 * there just now; -EBADMSG when the ring makes no sense. After 1, ring_complete must follow when the work is done.
 */
int ring_claim(const struct ring_view *view, unsigned int most, struct ring_batch *batch);

/* Before a region of the batch is unmapped: from now on nobody else unmaps it, whatever happens to us. */
void ring_unmapping(const struct ring_view *view, uint64_t id);

/*
 * All of the batch is reclaimed, but for `failed` regions that the kernel refused. `bytes`: the sizes of all its
 * regions, refused ones too, so that what is left in the ring stays counted.
 */
void ring_complete(const struct ring_view *view, const struct ring_batch *batch, uint64_t bytes, unsigned int failed);

/* Bytes and entries that wait in the ring, as both sides count them; an instant's estimate while they change. */
uint64_t ring_bytes(const struct ring_view *view);
uint64_t ring_entries(const struct ring_view *view);

/*
 * How many entries to claim at once, 1 to RING_BATCH, where so many (1 at least) and so many bytes are wanted
 * (UINT64_MAX: all): as far as an average tells.
 */
unsigned int ring_claim_size(const struct ring_view *view, uint64_t entries, uint64_t bytes);

/*
 * Takes a sample at `now_ns` (CLOCK_MONOTONIC): weighs the minimum since the last one (three quarters what it was, one
 * quarter the new) and begins a new period. Needs the lock. Returns how many bytes should be trimmed now, by the
 * weighted minimum and the pressure level.
 */
uint64_t ring_sample(const struct ring_view *view, uint64_t now_ns);

/*
 * Bytes to reclaim now, an eighth of what is there, from a ring that no thread has sampled for ten periods at `now_ns`;
 * 0 when one has. To be asked again every period.
 */
uint64_t ring_abandoned(const struct ring_view *view, uint64_t now_ns);

/*
 * The reclaimers' lock on the ring's memfd, waiting up to timeout_ms. `fd` must have an open file description of its
 * own, as opening /proc/self/fd/N gives: one from pidfd_getfd(2) shares that of the program, and its lock. Returns 0,
 * -ETIMEDOUT, or -errno. fcntl(2), F_OFD_SETLK.
 */
int ring_lock(int fd, int timeout_ms);
void ring_unlock(int fd);

/* Sleeps for a while, longer from call to call; *pause_ns begins at 0. Returns false, at once, after the deadline. */
bool ring_pause(uint64_t *pause_ns, uint64_t deadline_ns);
