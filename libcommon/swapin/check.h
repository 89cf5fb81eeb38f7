/* SPDX-License-Identifier: MIT */
/* Whether index, store and pagemap of a session agree. Internal to the room. */
#pragma once

#include "pager/pager.h"
#include "swapin/filler.h"

struct check_sums {
	uint64_t entries; /* pages that are out, over all address spaces */
	uint64_t clusters, records, poisoned_pages;
	uint64_t errors;
};

/*
 * Looks at everything while the target goes on, and emits an "error" record for each thing that is wrong. Takes `job`
 * for the part that must not see a swap-out under way; records are read without it. Returns 0 (see sums->errors),
 * -ESRCH when the target is gone, -ENOMEM.
 */
int check_session(struct pager *pager, emit_fn emit, void *context, struct check_sums *sums);
