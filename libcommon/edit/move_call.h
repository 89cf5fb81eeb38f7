/* SPDX-License-Identifier: MIT */
/* One UFFDIO_MOVE in a live process, and what its failure means: what swap-out and uffd-move have in common. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access/target_ops.h"
#include "base/region.h"

#define MOVE_PAGES_A_LOOK 512 /* pagemap entries that are read at once */

/*
 * What pagemap_read says while pages may be at one of two places and nowhere else: a look that fails is tried again,
 * for a second, unless the address space is gone. Returns 0 or -errno.
 */
int move_pagemap(int pagemap_fd, uint64_t address, size_t count, uint64_t *entries);

/*
 * After a move that failed: raises argument->move to the bytes that have moved. A move that is cut short because the
 * kernel migrates a page at the same time may have moved more than it says (seen with Linux 6.18, mm/userfaultfd.c,
 * move_pages). What is at the destination, and no longer where it was, has moved, unless something else places pages
 * there. Returns 0, or -ESRCH: it cannot be told.
 */
int move_count(int pagemap_fd, struct uffdio_move *argument);

/* What EBUSY says of the first pages of a region. */
struct move_busy {
	uint64_t stay; /* bytes that stay where they are; 0: the move may succeed now */
	bool shared;   /* with another process since a fork; if not, pinned or in the hands of the kernel */
};

/*
 * A program that forked has pages that are no longer marked exclusive although nobody shares them any more; a write
 * fault without a write makes them so (mm/memory.c, do_wp_page). Pages really shared would be copied by that: they
 * stay. *tried is where that was done last (UINT64_MAX: nowhere); once is enough. tried NULL: it is not done. Held.
 * Returns 0 or -errno.
 */
int64_t move_resolve_busy(struct access *access, int pagemap_fd, struct region region, uint64_t *tried,
			  struct move_busy *busy);
