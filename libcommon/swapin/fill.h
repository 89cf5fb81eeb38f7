/* SPDX-License-Identifier: MIT */
/* Pages back into an address space. */
#pragma once

#include "pager/pager.h"

struct filler;

/*
 * Answers one missing fault; `asked_now`: its message was read a moment ago. Returns 0, -EAGAIN when it must be parked,
 * -ESRCH when the space is dead.
 */
int fill_fault(struct filler *filler, struct space *space, uint64_t address, bool asked_now);

/* Brings what nobody waits for. */
void fill_prefetch(struct filler *filler, const struct prefetch *prefetch);

/*
 * Brings one cluster back wherever it is out; returns when nothing refers to it any more, no matter which thread
 * brought it. Until then what it was read from must stay.
 */
void fill_cluster(struct filler *filler, uint32_t number);

/*
 * Brings back everything that is out in a region of a space; waits for what is on its way out. Returns pages brought,
 * which are not all when the asker has had enough, or -errno.
 */
int64_t fill_region(struct filler *filler, struct space *space, struct region region);
