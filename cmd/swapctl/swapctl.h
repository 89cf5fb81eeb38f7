/* SPDX-License-Identifier: MIT */
/* What the verbs of swapctl share. */
#pragma once

#include "policy/swap.h"
#include "proc/pressure.h"
#include "report/metrics.h"
#include "session/session.h"
#include "tool/preference.h"
#include "tool/verb.h"

/* Of top: what its rows are sorted by. */
enum top_sort {
	TOP_BY_OUT,
	TOP_BY_RESIDENT,
	TOP_BY_STORE,
	TOP_BY_FAULTS,
	TOP_BY_WAIT,
	TOP_BY_REFAULTS,
	TOP_SORTS,
};

/* What the options of all verbs say. */
struct swapctl_values {
	struct session_options session;
	struct policy_params params;
	char pressure[PRESSURE_TRIGGER]; /* for the kernel's pressure file; empty: not given */
	uint64_t status_ms;              /* interval of status; 0: once */
	uint64_t bytes;                  /* most to take out; 0: all */
	bool dry_run, explain, leave, once;
	struct preferences preferences;
	char *config;
	enum top_sort top_sort;
	uint64_t top_interval_ns;
	bool ignored;
};

#define NO_SESSIONS "none of them has a session" /* of the processes that were chosen */

/*
 * A request that SIGINT and SIGTERM cut short: what was done until then is still reported.
 * Returns as session_ask, with *signal the one that has ended it, or 0.
 */
int run_cancellable(struct run *run, const struct session_request *request, int *signal, struct error *error);

/* Has SIGINT and SIGTERM noted from now on, for run_signal: the one that came, or 0. */
void run_catch_signals(void);
int run_signal(void);

/* Whether --store says that pages go to the swap of the kernel, and no session is made. */
bool kernel_chosen(const struct session_options *session);

/* Refuses options that only a session has. Returns an exit code, after saying which. */
int kernel_check_options(const struct run *run);

/* Whether the process may use that store. Returns 0, or -errno with `error` filled, as pageout_check; -EINVAL too. */
int kernel_check(const struct target *target, struct error *error);

/* out and in of that store. Returns an exit code. */
int kernel_out(struct run *run, const struct session_request *request);
int kernel_in(struct run *run, const struct session_request *request);

/* The exit code for its outcome, after saying what went wrong. */
int run_outcome(const struct run *run, int rc, int signal, const struct error *error);

extern const struct report_metric session_metrics[];
extern const struct report_column session_columns[];
extern const struct report_column region_columns[];
extern const struct report_column error_columns[];
extern const struct report_column round_columns[];

/* The verbs, by their names. Return an exit code. */
int verb_attach(struct run *run);
int verb_out(struct run *run);
int verb_in(struct run *run);
int verb_auto(struct run *run);
int verb_adopt(struct run *run);
int verb_run(struct run *run);
int verb_status(struct run *run);
int verb_top(struct run *run);

/* A verb that is one request to the session of -p: check, detach. */
int verb_request(struct run *run);
