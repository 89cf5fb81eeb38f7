/* SPDX-License-Identifier: MIT */
/* What the files of uffd-move share. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "edit/move.h"
#include "proc/target.h"
#include "report/error.h"
#include "report/report.h"
#include "tool/verb.h"
#include "watch.h"

/* One stretch of memory to move. */
struct request {
	struct region source;
	uint64_t destination; /* 0: a fresh mapping */
};

/* All of them, and the process that records say they are of. */
struct requests {
	struct request *items;
	size_t count, capacity;
	pid_t pid;               /* 0: not said */
	uint64_t starttime;      /* 0: not said */
	bool cut;                /* see struct region_input */
	bool by_mremap;          /* the records to be taken back say so */
	struct region_vec unmap; /* mapped by the run that is taken back: to go once they are empty */
};

struct move_options {
	enum move_method method;
	bool allow_holes, dont_wake, make_exclusive, dry_run, reverse, yes, quiet;
};

/* What the options say. */
struct move_values {
	struct move_options move;
	struct move_watch_options watch;
	uint64_t src, dst, length; /* dst 0: a fresh mapping */
};

extern const struct report_column move_columns[];

/* uffd-move, which has no verbs. */
int verb_move(struct run *run);

/* Returns 0 or -ENOMEM. */
int requests_add(struct requests *requests, struct request request);
void requests_free(struct requests *requests);

/*
 * Reads the regions of a file ("-" is standard input), with their "dst" where they have one. `reverse`: the move
 * records in it, the last first and the other way round, without the pages that its error records say did not move.
 * Returns 0, or a negative errno with `error` filled.
 */
int requests_read(struct requests *requests, const char *path, bool reverse, struct error *error);

/* Refuses requests that no process could fulfil: unaligned, overlapping. Returns 0, or -EINVAL with `error` filled. */
int requests_check(const struct requests *requests, struct error *error);

/*
 * Moves (or looks, with dry_run), a record for each request and the summary last. *partial is set when pages stayed.
 * Returns 0, or a negative errno with `error` filled.
 */
int move_requests(const struct move_options *options, const struct requests *requests, const struct target *target,
		  struct report *report, const volatile sig_atomic_t *interrupted, bool *partial, struct error *error);

/*
 * Why pages stayed where they were. The last process found to share pages is remembered from one failure to the next.
 */
struct explainer {
	const struct target *target;
	enum move_method method;
	bool made_exclusive; /* --make-exclusive was given */
	bool reverse;
	pid_t sharer; /* 0: none known */
	unsigned int searches;
};

/* The error record of a failure. NULL when out of memory. */
json_t *explain_failure(struct explainer *explainer, const struct move_failure *failure);

#define _cleanup_requests_ __attribute__((cleanup(requests_free)))
