/* SPDX-License-Identifier: MIT */
/* superpages --summary: a line a process, what of it could be swapped, and why the rest could not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "list.h"
#include "proc/refusal.h"
#include "report/input.h"
#include "session/session.h"
#include "tool/describe.h"
#include "untouched.h"

static const struct report_column summary_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"comm", "COMMAND", COLUMN_TEXT},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"swappable_bytes", "SWAPPABLE", COLUMN_SIZE},
	{"out_bytes", "OUT", COLUMN_SIZE},
	{"huge_bytes", "HUGE", COLUMN_SIZE},
	{"stays", "STAYS", COLUMN_REASONS},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column idle_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"comm", "COMMAND", COLUMN_TEXT},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"idle_bytes", "IDLE", COLUMN_SIZE},
	{"swappable_bytes", "SWAPPABLE", COLUMN_SIZE},
	{"out_bytes", "OUT", COLUMN_SIZE},
	{NULL, NULL, COLUMN_TEXT},
};

/* Bytes of a process, or of all. The resident ones are the sum of those by what may become of them. */
struct usage {
	pid_t pid;
	json_t *record; /* who it is */
	uint64_t resident, swapped, huge, idle;
	uint64_t out; /* to a session's store, and in the kernel's swap */
	uint64_t by_reason[ELIGIBILITIES];
};

/* What a session has of a process. */
struct served {
	pid_t pid;
	uint64_t starttime, out;
};

struct summary {
	struct run *run;
	const struct list_options *options;
	struct untouched untouched;
	struct {
		struct usage *items;
		size_t count, capacity;
	} usages;
	struct {
		struct served *items;
		size_t count, capacity;
	} sessions;
	struct usage total;
	uint64_t unreadable;
};

static void take_session(void *context, json_t *record)
{
	struct summary *summary = context;

	if (json_object_get(record, "out_pages") &&
	    array_reserve(&summary->sessions.items, summary->sessions.count, &summary->sessions.capacity) == 0)
		summary->sessions.items[summary->sessions.count++] =
			(struct served){.pid = (pid_t)input_number(record, "pid"),
					.starttime = input_number(record, "starttime"),
					.out = input_number(record, "out_pages") * page_size()};
	json_decref(record);
}

static const struct served *find_session(const struct summary *summary, const struct target *target)
{
	for (size_t i = 0; i < summary->sessions.count; i++)
		if (summary->sessions.items[i].pid == target->pid &&
		    summary->sessions.items[i].starttime == target->starttime)
			return &summary->sessions.items[i];
	return NULL;
}

static int add_idle(const struct summary *summary, const struct inspection *first, const struct mapping *mapping,
		    const struct smaps_counts *counts, struct usage *usage)
{
	uint64_t idle = 0;
	int rc = first ? untouched_bytes(&summary->untouched, first, mapping, counts, &idle) : 0;

	usage->idle += idle;
	return rc;
}

/* What a session has registered it takes again. NULL: it is not asked what is idle. */
static int read_usage(const struct summary *summary, const struct target *target, const struct inspection *first,
		      struct usage *usage)
{
	struct region everything = {0, UINT64_MAX};
	struct region_vec registered = {.items = &everything};
	const struct served *served = find_session(summary, target);
	struct eligible_reader reader;
	struct mapping mapping;
	enum eligibility verdict;
	int rc;

	registered.count = served != NULL;
	*usage = (struct usage){.pid = target->pid, .out = served ? served->out : 0};
	rc = eligible_open(&reader, target, &registered);
	if (rc < 0)
		return rc;
	while ((rc = eligible_next(&reader, &mapping, &verdict)) > 0 &&
	       (rc = add_idle(summary, first, &mapping, &reader.counts, usage)) == 0) {
		usage->resident += reader.counts.resident;
		usage->swapped += reader.counts.swapped;
		usage->huge += reader.counts.huge;
		usage->by_reason[verdict] += reader.counts.resident;
	}
	eligible_close(&reader);
	usage->out += usage->swapped;
	return rc == 0 && first ? untouched_check(first) : rc;
}

static int inspect_process(const struct summary *summary, const struct target *target, struct usage *usage)
{
	const struct inspection *first = NULL;
	int rc = summary->options->idle_ns ? untouched_find(&summary->untouched, target, &first) : 0;

	return rc < 0 ? rc : read_usage(summary, target, first, usage);
}

static void add_usage(struct usage *total, const struct usage *usage)
{
	total->resident += usage->resident;
	total->swapped += usage->swapped;
	total->huge += usage->huge;
	total->idle += usage->idle;
	total->out += usage->out;
	for (size_t i = 0; i < ELIGIBILITIES; i++)
		total->by_reason[i] += usage->by_reason[i];
}

static int take_process(struct run *run)
{
	struct summary *summary = run->context;
	struct error error = {0};
	struct usage usage;
	int rc = array_reserve(&summary->usages.items, summary->usages.count, &summary->usages.capacity);

	if (rc == 0)
		rc = inspect_process(summary, &run->target, &usage);
	if (rc < 0 && run->many && rc != -ENOMEM) {
		summary->unreadable += rc != -ESRCH;
		return EXIT_DONE;
	}
	if (rc < 0) {
		refusal_to_look(&run->target, rc, "inspect", &error);
		return run_failed(run, rc, &error);
	}
	/* It may have ended when all are emitted. */
	usage.record = report_process("usage", usage.pid, run->target.starttime);
	describe_process(usage.record);
	summary->usages.items[summary->usages.count++] = usage;
	add_usage(&summary->total, &usage);
	return EXIT_DONE;
}

static uint64_t sort_key(const struct usage *usage, enum list_sort sort)
{
	switch (sort) {
	case LIST_BY_RESIDENT:
		return usage->resident;
	case LIST_BY_SWAPPABLE:
		return usage->by_reason[ELIGIBLE];
	case LIST_BY_OUT:
		return usage->out;
	case LIST_BY_HUGE:
		return usage->huge;
	case LIST_BY_IDLE:
		return usage->idle;
	default:
		return 0;
	}
}

/* Largest first, then by pid. */
static int compare_usages(const void *a, const void *b, void *options)
{
	enum list_sort sort = ((const struct list_options *)options)->sort;
	const struct usage *one = a;
	const struct usage *other = b;
	uint64_t key = sort_key(one, sort);
	uint64_t other_key = sort_key(other, sort);

	if (key != other_key)
		return key > other_key ? -1 : 1;
	return (one->pid > other->pid) - (one->pid < other->pid);
}

static json_t *stays_object(const struct usage *usage)
{
	json_t *stays = json_object();

	for (unsigned int i = ELIGIBLE + 1; i < ELIGIBILITIES; i++)
		if (usage->by_reason[i])
			report_number(stays, eligibility_name((enum eligibility)i), usage->by_reason[i]);
	return stays;
}

static void emit_usage(const struct summary *summary, json_t *record, const struct usage *usage)
{
	report_number(record, "resident_bytes", usage->resident);
	report_number(record, "swappable_bytes", usage->by_reason[ELIGIBLE]);
	report_number(record, "swapped_bytes", usage->swapped);
	report_number(record, "out_bytes", usage->out);
	report_number(record, "huge_bytes", usage->huge);
	if (summary->options->idle_ns)
		report_number(record, "idle_bytes", usage->idle);
	json_object_set_new(record, "stays", stays_object(usage));
	report_record(summary->run->report, record);
}

static void emit_total(const struct summary *summary)
{
	json_t *record = json_pack("{s:s, s:I, s:I}", "type", "summary", "processes", (json_int_t)summary->usages.count,
				   "unreadable", (json_int_t)summary->unreadable);

	if (summary->options->idle_ns)
		untouched_describe(&summary->untouched, record);
	emit_usage(summary, record, &summary->total);
}

static void emit_usages(struct summary *summary)
{
	const struct list_options *options = summary->options;
	size_t count = summary->usages.count;

	if (options->sort != LIST_BY_ADDRESS)
		qsort_r(summary->usages.items, count, sizeof(*summary->usages.items), compare_usages,
			(void *)(uintptr_t)options);
	if (options->max >= 0 && (uint64_t)options->max < count)
		count = (size_t)options->max;
	for (size_t i = 0; i < count; i++)
		emit_usage(summary, json_incref(summary->usages.items[i].record), &summary->usages.items[i]);
	emit_total(summary);
}

int summarize_processes(struct run *run, const struct list_options *options)
{
	struct summary summary = {.run = run, .options = options, .untouched.wait_ns = options->idle_ns};
	struct error ignored = {0};
	int status = run_report_as(run, options->idle_ns ? idle_columns : summary_columns, "usage");

	if (status == EXIT_DONE)
		status = run_choose(run);
	if (status == EXIT_DONE && options->idle_ns)
		status = untouched_wait(&summary.untouched, run);
	if (status == EXIT_DONE) {
		session_list(take_session, &summary, &ignored);
		run->context = &summary;
		status = run_chosen(run, take_process, NULL, "those that matched have ended");
	}
	if (summary.usages.count)
		emit_usages(&summary);
	for (size_t i = 0; i < summary.usages.count; i++)
		json_decref(summary.usages.items[i].record);
	free(summary.usages.items);
	free(summary.sessions.items);
	untouched_free(&summary.untouched);
	return status;
}
