/* SPDX-License-Identifier: MIT */
/* superpages --idle: a first look at all processes, one wait, and what a second look finds untouched. */
#pragma once

#include "base/region.h"
#include "proc/maps.h"
#include "tool/verb.h"

/* The first look at a process. */
struct inspection {
	pid_t pid;
	uint64_t starttime;
	int rc;         /* 0, or -errno: there was none */
	int pagemap_fd; /* of the address space that was looked at; -1 */
};

enum untouched_method {
	UNTOUCHED_BY_IDLE,       /* idle page tracking: page by page */
	UNTOUCHED_BY_REFERENCED, /* smaps: how much of each mapping */
};

/* All zeros but for wait_ns. */
struct untouched {
	uint64_t wait_ns;
	enum untouched_method method;
	struct inspection *items;
	size_t count, capacity;
};

/* Adds to a record how it was found out, and for how long nothing was touched. */
void untouched_describe(const struct untouched *untouched, json_t *record);

/* Looks at all processes that the run has chosen, and waits. Returns an exit code; a signal that ended it was told. */
int untouched_wait(struct untouched *untouched, struct run *run);
void untouched_free(struct untouched *untouched);

/* The first look at a process. Returns 0, or why there is none: -ESRCH when it is another process now, or -errno. */
int untouched_find(const struct untouched *untouched, const struct target *target, const struct inspection **first);

/* -ESRCH when the address space is gone that the first look was at; 0. */
int untouched_check(const struct inspection *first);

/*
 * Appends to `touched`, in order, what of a region (page aligned, in the mapping) was touched, or may have been: where
 * only the mapping is known, all of it. `counts` are those of smaps, which UNTOUCHED_BY_IDLE does not need. Returns 0
 * or -errno.
 */
int untouched_except(const struct untouched *untouched, const struct inspection *first, const struct mapping *mapping,
		     const struct smaps_counts *counts, struct region region, struct region_vec *touched);

/* Whether it takes the counts of smaps. NULL: no. */
bool untouched_counts(const struct untouched *untouched);

/* What of a mapping was not touched although some of it was, where the kernel knows how much that is, and not where. */
uint64_t untouched_somewhere(const struct untouched *untouched, const struct mapping *mapping,
			     const struct smaps_counts *counts);

/* How much of a mapping is resident and was not touched, wherever it lies. Returns 0 or -errno. */
int untouched_bytes(const struct untouched *untouched, const struct inspection *first, const struct mapping *mapping,
		    const struct smaps_counts *counts, uint64_t *bytes);
