/* SPDX-License-Identifier: MIT */
/* swapctl status: what sessions say of themselves, once or at an interval, with rates then. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/size.h"
#include "cli/interrupt.h"
#include "swapctl.h"

#define RATE_COLUMNS "pid,state,out_bytes,store_bytes,faults_per_s,moved_bytes_per_s,refaulted_bytes_per_s,wait_percent"

/* Status again and again. */
struct rounds {
	struct run *run;
	json_t *before; /* the records of the round before, by process */
	json_t *now;
	uint64_t before_us, now_us;
};

/* How much more of a number there is than a round ago, a second; null when there was none. */
static json_t *rate_of(const struct rounds *rounds, const json_t *before, const json_t *record, const char *key,
		       double unit)
{
	double seconds = (double)(rounds->now_us - rounds->before_us) / 1e6;
	double more = json_number_value(json_object_get(record, key)) - json_number_value(json_object_get(before, key));

	return before && seconds > 0 && more >= 0 ? json_real(more * unit / seconds) : json_null();
}

static void report_rates(void *context, json_t *record)
{
	struct rounds *rounds = context;
	double page = (double)page_size();
	char process[64];
	const json_t *before;

	snprintf(process, sizeof(process), "%llu.%llu", (unsigned long long)input_number(record, "pid"),
		 (unsigned long long)input_number(record, "starttime"));
	before = json_object_get(rounds->before, process);
	json_object_set(rounds->now, process, record);
	json_object_set_new(record, "faults_per_s", rate_of(rounds, before, record, "faults", 1));
	json_object_set_new(record, "moved_bytes_per_s", rate_of(rounds, before, record, "moved_pages_total", page));
	json_object_set_new(record, "refaulted_bytes_per_s", rate_of(rounds, before, record, "refaulted_pages", page));
	json_object_set_new(record, "wait_percent", rate_of(rounds, before, record, "fault_wait_us", 1e-4));
	run_record(rounds->run, record);
}

static int ask_once(struct run *run, session_record_fn emit, void *context, struct error *error)
{
	const struct session_request request = {.verb = REQUEST_STATUS};

	return run->target.pidfd >= 0 ? session_ask(&run->target, &request, emit, context, error)
				      : session_list(emit, context, error);
}

static int show_one(struct run *run)
{
	struct error error = {0};
	int rc = ask_once(run, run_record, run, &error);

	return run_outcome(run, rc, 0, &error);
}

static int rate_one(struct run *run)
{
	struct error error = {0};
	int rc = ask_once(run, report_rates, run->context, &error);

	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

static int next_round(struct rounds *rounds)
{
	int status;

	rounds->now = json_object();
	rounds->now_us = now_us();
	status = run_chosen(rounds->run, rate_one, session_is_known, NO_SESSIONS);
	json_decref(rounds->before);
	rounds->before = rounds->now;
	rounds->before_us = rounds->now_us;
	return status;
}

/* Until a signal, the end of the processes that were chosen, or that of who reads it. */
static int show_rates(struct run *run, uint64_t interval_ms)
{
	const volatile sig_atomic_t *ended = interrupt_catch();
	struct timespec interval = {(time_t)(interval_ms / 1000), (long)(interval_ms % 1000) * 1000000};
	struct rounds rounds = {.run = run};
	int status = run_choose(run), rc = 0;

	run->context = &rounds;
	while (status == EXIT_DONE && !rc && !*ended) {
		status = next_round(&rounds);
		rc = report_round(run->report);
		if (status == EXIT_DONE && !rc && !*ended)
			nanosleep(&interval, NULL);
	}
	json_decref(rounds.before);
	return status == EXIT_DONE ? interrupt_status(status) : status;
}

int verb_status(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct report_style *style = &run->options.style;
	int status;

	if (!values->status_ms)
		return run_each_fitting(run, show_one, session_is_known, NO_SESSIONS);
	if (!style->chosen)
		style->chosen = strdup(RATE_COLUMNS);
	status = run_report(run);
	return status == EXIT_DONE ? show_rates(run, values->status_ms) : status;
}
