/* SPDX-License-Identifier: MIT */
/* From superpages as they are found to records: the limit, joining neighbours, the order. */
#pragma once

#include "list.h"

#define SELECT_ENOUGH 1 /* what select_add returns when the limit is reached */

struct selected_group;

/* A record to be: a superpage's part in one mapping, or several that were joined. */
struct selected_part {
	struct region region;
	struct residency residency;
	json_t *vma; /* what records say of the mapping; NULL: no part */
};

/* Set the first four, zeros for the rest. */
struct selection {
	const struct list_options *options;
	const struct target *target;
	const struct untouched *untouched; /* NULL: it is not said what is idle */
	struct report *report;

	json_t *process; /* what all records begin with, and what they say of a part */
	json_t *part;
	json_t *vma;                   /* the mapping being walked, once something was found in it */
	uint64_t superpage;            /* number of the superpage that was found last */
	uint64_t found;                /* superpages so far */
	struct selected_part pending;  /* waits for a neighbour to join */
	struct selected_group *groups; /* by resident bytes: a heap, the least on top, when there is a limit */
	size_t count, capacity;

	uint64_t regions;  /* records so far */
	uint64_t unlisted; /* bytes that are idle in mappings of which some was touched */
	struct residency total;
};

/* Begins the next mapping, in order of address. */
void select_mapping(struct selection *selection);

/* Adds what was found next in `mapping`. Returns 0, SELECT_ENOUGH or -errno. */
int select_add(struct selection *selection, const struct mapping *mapping, struct region region,
	       const struct residency *residency);

/* Emits what waits, then the summary. Returns 0 or -errno. */
int select_finish(struct selection *selection, enum pages_method method);

/* All zeros is allowed. */
void select_free(struct selection *selection);

#define _cleanup_selection_ __attribute__((cleanup(select_free)))
