/* SPDX-License-Identifier: MIT */
/* What a process keeps from its children (MADV_DONTFORK), and so a clone lacks, copied for a core file. */
#pragma once

#include "clone/memory.h"

struct kept_memory {
	struct memory_mapping *mappings; /* each with its copy */
	size_t count;
	unsigned char *copy; /* of all, one after the other; takes memory only where something is */
	uint64_t bytes, unreadable;
};

/*
 * Copies private anonymous memory of a process that stands still. Pages that are out come back for it. If that takes
 * too long, or there is no memory for it, nothing is kept. `except`: what is ours there. The caller frees it.
 */
void kept_take(struct kept_memory *kept, const struct target *target, struct region except);
void kept_free(struct kept_memory *kept);

/* Adds the mappings to those of a clone, which has none there. Borrows the copies. Returns 0 or -ENOMEM. */
int kept_add(const struct kept_memory *kept, struct memory *clone);
