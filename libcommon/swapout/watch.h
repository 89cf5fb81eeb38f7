/* SPDX-License-Identifier: MIT */
/* Telling a client which pages that are out are touched, while it happens. Internal to the room. */
#pragma once

#include "pager/pager.h"
#include "swapout/swapout.h"

struct watch_request {
	struct region_vec regions; /* sorted, without overlaps */
	uint64_t duration_ms;      /* 0: until the client has heard enough */
	uint64_t again_ms;         /* 0: what came back stays */
	bool later;                /* all that is eligible is added to the regions: at once, and as it gets pages */
	/* An earlier worker moved the pages out, and this is when the watch began; 0: move them now. */
	uint64_t resume_ns;
	int connection; /* the watch ends when its other side is shut down for writing */
	emit_fn emit;
	void *context;
};

/*
 * Moves the pages of the regions out and emits a record for each region, also for those that are added, and a "touches"
 * record whenever some have come back, until the duration is over, the client has heard enough or is gone, or the
 * target has ended. Nothing is brought back here. One at a time. Returns 0, or -errno with `error` filled: what out_run
 * returns, -EBUSY when another client watches, -ENOMEM. *partial: not every page could be moved out.
 */
int watch_run(struct pager *pager, const struct watch_request *request, bool *partial, struct error *error);
