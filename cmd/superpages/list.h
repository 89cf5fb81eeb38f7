/* SPDX-License-Identifier: MIT */
/* What superpages lists, and how. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/region.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "proc/target.h"
#include "report/error.h"
#include "report/report.h"
#include "tool/verb.h"

enum list_kind {
	LIST_ANON,
	LIST_FILE,
	LIST_SHMEM,
	LIST_ALL,
};

/* How much of a region must be in core. */
struct list_least {
	uint64_t least; /* bytes, or percent of the region */
	bool is_percent;
};

/* What its options say. */
struct list_options {
	int64_t max;   /* superpages; negative: no limit */
	uint64_t size; /* of a superpage, bytes */
	struct list_least resident;
	enum list_kind kind;
	const char *name; /* glob, NULL: any */
	bool merge;
	bool swappable;
	int by_resident; /* largest first; else by address */
	bool quiet;
	enum pages_method method;
	struct region range;      /* as it was given; empty: not at all */
	bool limited;             /* only inside `within` */
	struct region_vec within; /* sorted, disjoint, page aligned */
};

extern const struct report_column list_columns[];

/* superpages, which has no verbs. */
int verb_list(struct run *run);

/* Lists a target's superpages on the report, the summary last. Returns 0, or a negative errno with `error` filled. */
int list_superpages(const struct list_options *options, const struct target *target, struct report *report,
		    struct error *error);
