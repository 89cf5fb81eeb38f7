/* SPDX-License-Identifier: MIT */
/* What is mapped in some regions of a target, and what speaks against changing it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/region.h"
#include "inject/inject.h"
#include "proc/maps.h"

/* A part of a mapping, or of what lies between mappings. */
struct edit_piece {
	struct region part;     /* page aligned */
	bool mapped;            /* if not, nothing below is set */
	bool registered;        /* with a userfaultfd */
	bool locked;            /* mlock(2) */
	bool kept;              /* from children: MADV_DONTFORK */
	bool ours;              /* an area of a session, or of a tool at work */
	struct mapping mapping; /* that the part lies in */
};

struct pieces {
	struct edit_piece *items;
	size_t count, capacity;
};

/*
 * The pieces of `regions` (sorted, without overlaps), in order. What our injector has mapped there (`inject`,
 * may be NULL) counts as not mapped. Returns 0 or -errno (-ESRCH when the address space is gone). The caller frees
 * them: pieces_free.
 */
int pieces_read(const struct target *target, const struct inject *inject, const struct region_vec *regions,
		struct pieces *pieces);
void pieces_free(struct pieces *pieces);

/* A right that a change takes from mappings that have it; unmapping takes all. */
enum {
	TAKES_READ = 1,
	TAKES_WRITE = 2,
	TAKES_EXEC = 4,
	TAKES_ALL = 8, /* also from mappings without any */
};

/*
 * Refuses pieces that the process, the kernel or one of our tools relies on from one moment to the next. Always: what
 * is registered with a userfaultfd, because a thread that changes it waits for its server; our own areas; the
 * instruction that injection begins with. Unless `force`: the stack of the main thread; mappings of the kernel; what is
 * kept from children, because devices may write to it; and, when rights are taken (`takes`), what a thread executes or
 * has its stack in. Threads that run are stopped for a moment to be asked where they are; without an injector (NULL)
 * they are not asked. Returns 0, -EINVAL with `error` filled (tried: `what` and the region), or another -errno.
 */
int pieces_check(const struct pieces *pieces, const struct target *target, struct inject *inject, unsigned int takes,
		 bool force, const char *what, struct error *error);

#define _cleanup_pieces_ __attribute__((cleanup(pieces_free)))
