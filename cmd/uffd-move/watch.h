/* SPDX-License-Identifier: MIT */
/* --watch: pages out of the way, and a record for each one that is touched. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/region.h"
#include "proc/target.h"
#include "report/error.h"
#include "report/report.h"

struct move_watch_options {
	uint64_t duration_ns; /* 0: until a signal, or the target's end */
	uint64_t again_ms;    /* 0: pages that came back stay */
	bool later;           /* all that is eligible is watched, also what comes later */
	bool quiet;
};

/*
 * Watches regions (sorted, disjoint, page aligned; with `later` none, and they are added): region records, then a
 * "touch" record for each touch, sums by mapping and thread, the summary. Everything is back when it returns. *partial:
 * some pages were not moved aside, or touches not told. Returns 0, or a negative errno with `error` filled.
 */
int watch_regions(const struct move_watch_options *options, const struct target *target, struct region_vec *regions,
		  struct report *report, bool *partial, struct error *error);
