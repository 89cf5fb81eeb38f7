/* SPDX-License-Identifier: MIT */
/* What differs between the memory of two processes. */
#pragma once

#include <stdint.h>

#include "base/region.h"
#include "clone/memory.h"

enum diff_kind {
	DIFF_CHANGED, /* mapped in both, with other contents */
	DIFF_ONLY_A,
	DIFF_ONLY_B,
	DIFF_UNREADABLE, /* mapped in both, but its contents are not to be had */
	DIFF_KINDS,
};

/* "changed", "only-in-a", "only-in-b", "unreadable". */
const char *diff_kind_name(enum diff_kind kind);

/* Receives each difference: page aligned, neighbours of one kind joined. Not 0 ends the comparison with that. */
typedef int (*diff_fn)(void *context, struct region region, enum diff_kind kind);

struct diff_sums {
	uint64_t compared_bytes;    /* mapped in both */
	uint64_t read_bytes;        /* of those, compared byte by byte; the rest is known to be the same memory */
	uint64_t bytes[DIFF_KINDS]; /* of the differences, by kind */
};

/*
 * Compares two processes, page by page. Pages that are the same physical page (pagemap's frame number: with
 * CAP_SYS_ADMIN), the same place in swap, the same page of one file, or untouched in both are equal without being read.
 * Nothing stops meanwhile: what a process changes during the comparison may be seen either way. Returns 0 or -errno
 * (-ESRCH: one of them has ended).
 */
int memory_diff(const struct memory *a, const struct memory *b, diff_fn callback, void *context,
		struct diff_sums *sums);
