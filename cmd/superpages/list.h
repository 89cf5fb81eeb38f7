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
#include "report/metrics.h"
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

enum list_sort {
	LIST_BY_ADDRESS, /* with --summary: as processes were found */
	LIST_BY_RESIDENT,
	LIST_BY_SWAPPABLE, /* the rest only with --summary */
	LIST_BY_OUT,
	LIST_BY_HUGE,
	LIST_BY_IDLE,
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
	bool summary;
	uint64_t idle_ns; /* between two looks; 0: list what was touched, too */
	enum list_sort sort;
	bool quiet;
	enum pages_method method;
	struct region range;      /* as it was given; empty: not at all */
	bool limited;             /* only inside `within` */
	struct region_vec within; /* sorted, disjoint, page aligned */
};

extern const struct report_metric list_metrics[];
extern const struct report_column list_columns[];

struct inspection;
struct untouched;

/* superpages --summary: a record a process. Returns an exit code. */
int summarize_processes(struct run *run, const struct list_options *options);

/* superpages, which has no verbs. */
int verb_list(struct run *run);

/*
 * Lists a target's superpages on the report, the summary last; NULL: what was touched, too. Returns 0, or a negative
 * errno with `error` filled.
 */
int list_superpages(const struct list_options *options, const struct target *target, const struct untouched *untouched,
		    struct report *report, struct error *error);
