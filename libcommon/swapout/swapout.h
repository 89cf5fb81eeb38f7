/* SPDX-License-Identifier: MIT */
/* Pages out of address spaces. */
#pragma once

#include "pager/pager.h"
#include "swapin/filler.h"

/* out.c: swap-out. One at a time, `job` held. Emits records through the callback. */
struct out_request {
	struct region_vec regions; /* sorted, without overlaps */
	bool everything; /* all that is eligible, and nothing else: in the regions, or without any of the process */
	uint64_t bytes;  /* stop after so many have left; 0: no limit */
	bool dry_run;
	bool pool;          /* to the pool, not to the store */
	bool skip_unmapped; /* a region that is not mapped any more is skipped, not refused */
	struct asker asker;
	emit_fn emit;
	void *context;
};

/* What all regions of a swap-out come to. */
struct out_sums {
	uint64_t regions;
	uint64_t asked, moved, stored, compressed, skipped; /* bytes; dry: moved is what would be */
	uint64_t zero_pages, filled_pages;
	json_t *reasons; /* why what was skipped stayed: an object, bytes by reason, owned; NULL: nothing was */
	bool partial;    /* something asked for could not be moved */
};

/*
 * Returns 0, or -errno with `error` filled: -EINVAL (a region outside any mapping; nothing was changed), -ESRCH,
 * -ENOSPC, -EPERM, -ECANCELED (the asker has had enough). What was done is added to *sums.
 */
int out_run(struct pager *pager, const struct out_request *request, struct out_sums *sums, struct error *error);
