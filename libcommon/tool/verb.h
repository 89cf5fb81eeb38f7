/* SPDX-License-Identifier: MIT */
/* What every verb of a tool does before and after its one thing: a report for its records, a target, an exit code. */
#pragma once

#include "cli/cli.h"
#include "cli/exit.h"
#include "proc/target.h"
#include "report/error.h"
#include "report/input.h"
#include "report/report.h"
#include "tool/choice.h"

/* One run of a verb: its options, its processes, where its records go. */
struct run {
	const char *name; /* "swapctl out": how its errors begin */
	const struct cli_verb *verb;
	struct cli_options options;
	char **operands;           /* ended by NULL */
	char **command;            /* at the end of the line; NULL: none */
	struct region_input input; /* of -r */
	struct choices choices;
	struct target target; /* the one whose turn it is */
	bool many;            /* several were chosen */
	size_t done, failed;  /* of them, so far */
	void *context;        /* what the verb needs for each */
	struct report *report;
	struct progress progress;
};

/* The tool's own values of this run's options. */
static inline void *run_values(const struct run *run)
{
	return run->options.tool->values;
}

/*
 * For verbs that work on one process: opens the report and, unless none was chosen and the verb needs none, the target.
 * Returns an exit code after saying what is wrong.
 */
int run_begin(struct run *run);

/* The same with another table than that of the verb, of records of `type`. */
int run_open(struct run *run, const struct report_column *columns, const char *type);

/*
 * Parts of that: the report; the processes that were chosen, or those of the records, in run->choices. Return an exit
 * code after saying what is wrong.
 */
int run_report(struct run *run);
int run_report_as(struct run *run, const struct report_column *columns, const char *type);
int run_choose(struct run *run);

/*
 * For verbs that work on any number of them: opens the report, and calls `one` with each in run->target, whatever
 * became of the one before; with none when none was chosen and the verb needs none. Returns what it returned, or
 * EXIT_PARTIAL when that was not the same of all. One that nobody named and that has ended, or that `fits` (NULL: all
 * do) does not take, is left out; when none is left EXIT_NOTHING, in whose error `what` stands.
 */
int run_each(struct run *run, int (*one)(struct run *run));
int run_each_fitting(struct run *run, int (*one)(struct run *run), bool (*fits)(const struct target *target),
		     const char *what);

/* run_each after run_report and run_choose. */
int run_each_chosen(struct run *run, int (*one)(struct run *run));

/* The same for those that `fits` takes, without the summary of several. */
int run_chosen(struct run *run, int (*one)(struct run *run), bool (*fits)(const struct target *target),
	       const char *what);
void run_close(struct run *run);

/*
 * The exit code of a verb whose records were written with rc: that of the verb where all were, or their reader has
 * gone, or else EXIT_FAILED after saying why.
 */
int run_written(const struct run *run, int rc, int status);

/* Ends the report; output that could not be written turns success into EXIT_FAILED. Returns the verb's exit code. */
int run_finish(struct run *run, int status);

/* Prints the error and gives its exit code. */
int run_failed(const struct run *run, int rc, const struct error *error);

/*
 * The exit code of work that ended with rc. What failed because output could not be written is told as run_finish does
 * it, anything else as run_failed.
 */
int run_result(struct run *run, int rc, const struct error *error);

/*
 * The regions of -r that are of the target, page aligned, sorted, without overlaps; none without -r. They are the
 * run's, for as long as it lasts. Returns an exit code after saying what is wrong.
 */
int run_regions(struct run *run, struct region_vec **regions);

/*
 * Says that the records of -r end before those who made them said that it was all; a verb that needs them whole refuses
 * them. Returns an exit code.
 */
int run_cut(const struct run *run);

/* A record on its way out: those of type "progress" are drawn, the rest is reported. Context: struct run. */
void run_record(void *context, json_t *record);

#define _cleanup_run_ __attribute__((cleanup(run_close)))
