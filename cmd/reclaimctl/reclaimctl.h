/* SPDX-License-Identifier: MIT */
/* What the verbs of reclaimctl share. */
#pragma once

#include "policy/reclaim.h"
#include "proc/pressure.h"
#include "reclaim/entries.h"
#include "reclaim/find.h"
#include "reclaim/reclaimer.h"
#include "report/metrics.h"
#include "tool/preference.h"
#include "tool/verb.h"

/* When the kernel's notices of pressure make a level, for watch. */
struct watch_trigger {
	char text[PRESSURE_TRIGGER]; /* for the kernel's pressure file; empty: none */
	bool given;                  /* by the user, who wants to hear that it cannot be set */
};

/* What watch is asked for. Times are nanoseconds. */
struct watch_options {
	bool dry_run, verbose;
	struct preferences preferences;
	char *config;
	uint64_t interval_ns;
	uint64_t period_ns; /* of sampling; 0: as each ring says */
	struct ring_params params;
	struct watch_trigger triggers[RING_CRITICAL + 1]; /* by level; none for RING_NORMAL */
};

/* What the options of all verbs say. */
struct reclaimctl_values {
	struct reclaim_limits limits; /* of flush; 0: not given */
	bool all;                     /* of flush */
	enum access_method access;
	uint64_t timeout_ms;
	char min[24]; /* of run, as it was written; empty: not given */
	struct watch_options watch;
};

extern const struct report_metric ring_metrics[];
extern const struct report_column ring_columns[];
extern const struct report_column entry_columns[];
extern const struct report_column reclaim_columns[];

/* The record of type "ring": all that a ring says of itself. The caller owns it. */
json_t *ring_record(const struct target *target, const struct ring_found *ring);

/* Sets a number of the ring in a record: whatever a program wrote there, a reader of JSON can hold it. */
void ring_number(json_t *record, const char *key, uint64_t number);

/* The record of type "region" for an entry; the caller adds what else is known. The caller owns it. */
json_t *entry_record(const struct target *target, const struct ring_work *work, struct region region);

/* "normal", "warning", "critical"; "unknown" for what a program made up. */
const char *ring_level_name(uint32_t level);

#define NO_RINGS "none of them has a ring" /* of the processes that were chosen */

/* Whether a process has a ring, of whatever kind. */
bool ring_exists(const struct target *target);

/* The ring of the target. Returns an exit code after saying what is wrong. */
int run_ring(struct run *run, bool writable, struct ring_found *ring);

/* The verbs, by their names. Return an exit code. */
int verb_status(struct run *run);
int verb_list(struct run *run);
int verb_query(struct run *run);
int verb_flush(struct run *run);
int verb_resize(struct run *run);
int verb_run(struct run *run);
int verb_watch(struct run *run);
