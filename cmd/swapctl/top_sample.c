/* SPDX-License-Identifier: MIT */
/* swapctl top: what there is to show at one time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/size.h"
#include "base/text.h"
#include "report/input.h"
#include "top.h"

/* A sample on its way. */
struct taking {
	struct top_sample *sample;
	const struct choices *choices; /* NULL: all that have a session */
	bool failed;
};

static uint64_t status_bytes(pid_t pid, const char *field)
{
	uint64_t kib = 0;

	return pid && proc_status_read(pid, field, 10, &kib) == 0 ? kib * KiB : 0;
}

static struct top_row *add_row(struct taking *taking, pid_t pid, uint64_t starttime)
{
	struct top_sample *sample = taking->sample;
	struct top_row *row;

	if (array_reserve(&sample->rows, sample->count, &sample->capacity) < 0) {
		taking->failed = true;
		return NULL;
	}
	row = &sample->rows[sample->count++];
	*row = (struct top_row){.pid = pid, .starttime = starttime};
	proc_name_read(pid, row->comm);
	text_make_safe(row->comm);
	row->resident = status_bytes(pid, "VmRSS");
	row->out = status_bytes(pid, "VmSwap");
	return row;
}

static bool is_chosen(const struct choices *choices, pid_t pid)
{
	if (!choices)
		return true;
	for (size_t i = 0; i < choices->count; i++)
		if (choices->items[i].pid == pid)
			return true;
	return false;
}

static uint64_t process_cost(const json_t *record, const char *key)
{
	return status_bytes((pid_t)input_number(record, key), "VmRSS");
}

static void take_session(void *context, json_t *record)
{
	struct taking *taking = context;
	pid_t pid = (pid_t)input_number(record, "pid");
	const char *state = json_string_value(json_object_get(record, "state"));
	struct top_row *row =
		is_chosen(taking->choices, pid) ? add_row(taking, pid, input_number(record, "starttime")) : NULL;

	if (row) {
		snprintf(row->state, sizeof(row->state), "%s", state ? state : "?");
		row->out += input_number(record, "out_pages") * page_size();
		row->store = input_number(record, "store_bytes") + input_number(record, "pool_bytes");
		row->faults = input_number(record, "faults");
		row->waited = input_number(record, "fault_wait_us");
		row->refaults = input_number(record, "refaulted_pages");
		row->cost = process_cost(record, "worker_pid") + process_cost(record, "supervisor_pid");
	}
	json_decref(record);
}

static const struct top_row *find_row(const struct top_sample *sample, pid_t pid, uint64_t starttime)
{
	for (size_t i = 0; i < sample->count; i++)
		if (sample->rows[i].pid == pid && (!starttime || sample->rows[i].starttime == starttime))
			return &sample->rows[i];
	return NULL;
}

static void add_processes(struct taking *taking)
{
	for (size_t i = 0; taking->choices && i < taking->choices->count; i++) {
		const struct process_choice *choice = &taking->choices->items[i];
		struct proc_stat stat;

		if (!find_row(taking->sample, choice->pid, choice->starttime) &&
		    proc_stat_read(choice->pid, &stat) == 0)
			add_row(taking, choice->pid, stat.starttime);
	}
}

static double rate_of(uint64_t now, uint64_t before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static void set_rates(struct top_sample *sample, const struct top_sample *before)
{
	double seconds = (double)(sample->time_ns - before->time_ns) / 1e9;

	for (size_t i = 0; i < sample->count; i++) {
		struct top_row *row = &sample->rows[i];
		const struct top_row *old = find_row(before, row->pid, row->starttime);

		if (!old)
			continue;
		row->faults_s = rate_of(row->faults, old->faults, seconds);
		row->refaults_s = rate_of(row->refaults, old->refaults, seconds);
		row->wait_share = rate_of(row->waited, old->waited, seconds) / 10000;
	}
}

int top_take(struct top_sample *sample, const struct top_sample *before, const struct cli_processes *processes,
	     struct error *error)
{
	_cleanup_choices_ struct choices choices = {0};
	struct taking taking = {.sample = sample};
	int rc = 0;

	*sample = (struct top_sample){.time_ns = clock_now_ns()};
	if (processes) {
		rc = choice_find(&choices, processes, &(struct region_input){0}, error);
		taking.choices = &choices;
	}
	if (rc == 0)
		rc = session_list(take_session, &taking, error);
	add_processes(&taking);
	set_rates(sample, before);
	if (taking.failed)
		return error_set(error, -ENOMEM, NULL, NULL, "list the sessions");
	return rc;
}

void top_free(struct top_sample *sample)
{
	free(sample->rows);
	*sample = (struct top_sample){0};
}

static double sort_value(const struct top_row *row, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_OUT:
		return (double)row->out;
	case TOP_BY_RESIDENT:
		return (double)row->resident;
	case TOP_BY_STORE:
		return (double)row->store;
	case TOP_BY_FAULTS:
		return row->faults_s;
	case TOP_BY_WAIT:
		return row->wait_share;
	default:
		return row->refaults_s;
	}
}

static int compare_rows(const void *a, const void *b, void *sort)
{
	const struct top_row *one = a;
	const struct top_row *other = b;
	double value = sort_value(one, *(enum top_sort *)sort);
	double other_value = sort_value(other, *(enum top_sort *)sort);

	if (value > other_value || value < other_value)
		return value > other_value ? -1 : 1;
	return (one->pid > other->pid) - (one->pid < other->pid);
}

void top_sort(struct top_sample *sample, enum top_sort sort)
{
	if (sample->count)
		qsort_r(sample->rows, sample->count, sizeof(*sample->rows), compare_rows, &sort);
}
