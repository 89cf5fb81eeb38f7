/* SPDX-License-Identifier: MIT */
/* The frame of a verb. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "tool/describe.h"
#include "tool/verb.h"

#define ALL_ENDED "those that matched have ended"

int run_failed(const struct run *run, int rc, const struct error *error)
{
	error_print(run->name, error);
	return exit_code_of(rc);
}

int run_report_as(struct run *run, const struct report_column *columns, const char *type)
{
	struct error error = {0};
	const char *why = NULL;
	int rc;

	run->options.style.live = run->verb->live;
	run->options.style.named = run->many;
	run->options.style.no_rows = run->verb->brief && !run->options.verbose;
	run->options.style.sentences = run->verb->sentences;
	run->options.style.metrics = run->verb->metrics;
	rc = report_open(&run->report, &run->options.style, columns, type, &why);
	if (rc == -ENOMEM)
		return run_failed(run, error_set(&error, rc, NULL, NULL, "write records"), &error);
	if (rc < 0 && rc != -EINVAL)
		return run_failed(run, error_set(&error, rc, NULL, NULL, "write %s", run->options.style.output),
				  &error);
	if (rc < 0)
		return cli_usage_error(run->name, "%s", why);
	report_describe(run->report, describe_process);
	return EXIT_DONE;
}

int run_report(struct run *run)
{
	return run_report_as(run, run->verb->columns, run->verb->type);
}

int run_cut(const struct run *run)
{
	static const char why[] = "they end without a summary, so the command that made them failed or was cut short";
	const char *regions = run->options.regions;
	const char *name = regions && strcmp(regions, "-") != 0 ? regions : "standard input";
	struct error error = {0};

	if (run->verb->whole)
		return run_failed(run,
				  error_set(&error, -EINVAL, why, "run that again, or remove \"v\" from the records",
					    "use the regions of %s", name),
				  &error);
	fprintf(stderr, "%s: the regions of %s may not be all: %s\n", run->name, name, why);
	return EXIT_DONE;
}

int run_choose(struct run *run)
{
	const char *regions = run->options.regions;
	struct error error = {0};
	int rc = regions ? region_input_read(&run->input, regions, page_size(), &error) : 0;

	if (rc == 0 && run->input.cut && run_cut(run) != EXIT_DONE)
		return exit_code_of(-EINVAL);
	if (rc == 0)
		rc = choice_find(&run->choices, &run->options.processes, &run->input, &error);
	if (rc < 0)
		return run_failed(run, rc, &error);
	run->many = run->choices.count > 1;
	if (run->choices.count || (!cli_chooses_process(&run->options) && run->verb->target_optional && !regions))
		return EXIT_DONE;
	if (!cli_chooses_process(&run->options) && (!regions || run->input.count))
		return cli_usage_error(run->name, "which process? %s; see %s --help for other ways",
				       regions ? "The records do not say: give -p PID" : "Give -p PID", run->name);
	error_set(&error, -ENOMSG, regions ? "there is no region in the records" : "none matches",
		  regions ? NULL : "see ps -e -o pid,comm,cgroup", "find processes");
	return run_failed(run, error.code, &error);
}

static int open_choice(struct run *run, const struct process_choice *choice)
{
	struct error error = {0};
	int rc = choice_open(choice, &run->target, &error);

	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

int run_open(struct run *run, const struct report_column *columns, const char *type)
{
	int status = run_report_as(run, columns, type);

	if (status == EXIT_DONE)
		status = run_choose(run);
	if (status != EXIT_DONE || !run->choices.count)
		return status;
	if (run->many)
		return cli_usage_error(run->name, "it works on one process, and %zu were chosen: name one of them",
				       run->choices.count);
	return open_choice(run, run->choices.items);
}

int run_begin(struct run *run)
{
	return run_open(run, run->verb->columns, run->verb->type);
}

/* What became of many processes. */
struct outcome {
	int status; /* of the first */
	size_t done, failed;
};

static void add_outcome(struct outcome *outcome, int status)
{
	if ((!outcome->done && !outcome->failed) || status >= EXIT_SIGNALLED)
		outcome->status = status;
	else if (outcome->status != status)
		outcome->status = EXIT_PARTIAL;
	outcome->done += status == EXIT_DONE;
	outcome->failed += status != EXIT_DONE;
}

static void run_choice(struct run *run, const struct process_choice *choice, int (*one)(struct run *run),
		       bool (*fits)(const struct target *target), struct outcome *outcome)
{
	struct error error = {0};
	int rc = choice_open(choice, &run->target, &error);

	if (rc < 0 && choice->named)
		add_outcome(outcome, run_failed(run, rc, &error));
	else if (rc == 0 && (choice->named || !fits || fits(&run->target)))
		add_outcome(outcome, one(run));
	target_close(&run->target);
}

/* A signal has ended it, or nobody reads what it prints. */
static bool is_over(const struct run *run, const struct outcome *outcome)
{
	return outcome->status >= EXIT_SIGNALLED || (run->report && report_failed(run->report));
}

int run_chosen(struct run *run, int (*one)(struct run *run), bool (*fits)(const struct target *target),
	       const char *what)
{
	struct outcome outcome = {0};
	struct error error = {0};

	if (!run->choices.count)
		return one(run);
	for (size_t i = 0; i < run->choices.count && !is_over(run, &outcome); i++)
		run_choice(run, &run->choices.items[i], one, fits, &outcome);
	if (!outcome.done && !outcome.failed) {
		error_set(&error, -ENOMSG, what, NULL, "find processes");
		return run_failed(run, error.code, &error);
	}
	run->done = outcome.done;
	run->failed = outcome.failed;
	return outcome.status;
}

static int run_and_sum_up(struct run *run, int (*one)(struct run *run), bool (*fits)(const struct target *target),
			  const char *what)
{
	int status = run_chosen(run, one, fits, what);

	if (run->many && run->done + run->failed)
		report_record(run->report, json_pack("{s:s, s:I, s:I}", "type", "summary", "processes",
						     (json_int_t)run->done + (json_int_t)run->failed, "failed",
						     (json_int_t)run->failed));
	return status;
}

int run_each_fitting(struct run *run, int (*one)(struct run *run), bool (*fits)(const struct target *target),
		     const char *what)
{
	int status = run_choose(run);

	if (status == EXIT_DONE)
		status = run_report(run);
	return status == EXIT_DONE ? run_and_sum_up(run, one, fits, what) : status;
}

int run_each_chosen(struct run *run, int (*one)(struct run *run))
{
	return run_and_sum_up(run, one, NULL, ALL_ENDED);
}

int run_each(struct run *run, int (*one)(struct run *run))
{
	return run_each_fitting(run, one, NULL, ALL_ENDED);
}

void run_close(struct run *run)
{
	progress_end(&run->progress);
	report_close(run->report);
	target_close(&run->target);
	region_input_free(&run->input);
	choice_free(&run->choices);
	cli_operands_free(&run->operands);
	cli_options_free(&run->options);
}

int run_written(const struct run *run, int rc, int status)
{
	struct error error = {0};

	/* Nobody reads any more what is left to say, as `head` does not: that is no failure of what was done. */
	if (rc == 0 || rc == -EPIPE)
		return status;
	error_set(&error, rc, NULL, NULL, "write records");
	error_print(run->name, &error);
	return status == EXIT_DONE || status == EXIT_PARTIAL ? EXIT_FAILED : status;
}

int run_finish(struct run *run, int status)
{
	bool told = !run->options.quiet || !run->report || report_told(run->report);
	int rc = report_close(run->report);

	run->report = NULL;
	if (status == EXIT_PARTIAL && !told)
		fprintf(stderr, "%s: cannot do all of it: some of it stayed undone (without -q the records say what)\n",
			run->name);
	return run_written(run, rc, status);
}

int run_result(struct run *run, int rc, const struct error *error)
{
	int written;

	if (rc >= 0)
		return EXIT_DONE;
	written = report_close(run->report);
	run->report = NULL;
	return written < 0 ? run_written(run, written, EXIT_DONE) : run_failed(run, rc, error);
}

void run_record(void *context, json_t *record)
{
	struct run *run = context;

	if (input_is(record, "progress")) {
		progress_update(&run->progress, input_number(record, "done"), input_number(record, "total"));
		json_decref(record);
		return;
	}
	report_record(run->report, record);
}

/* The group of the target, or that of records that name no process. Returns NULL: there is none. */
static struct region_group *group_of_target(struct run *run)
{
	for (size_t i = 0; i < run->input.count; i++)
		if (!run->input.groups[i].pid || run->input.groups[i].pid == run->target.pid)
			return &run->input.groups[i];
	return NULL;
}

/* Records that name others than those that were chosen were made for another purpose. */
static int check_group(const struct run *run, const struct region_group *group, struct error *error)
{
	char text[ADDRESS_TEXT];
	ptrdiff_t at;
	int rc;

	if (!group && run->input.count)
		return target_matches(&run->target, run->input.groups[0].pid, 0, error);
	if (!group)
		return 0;
	if (!group->pid && run->many)
		return error_set(error, -EINVAL, "they do not say of which process they are", "give one -p",
				 "use the regions for process %d", run->target.pid);
	rc = target_matches(&run->target, group->pid, group->starttime, error);
	at = rc < 0 ? -1 : region_vec_overlap(&group->regions);
	return at < 0 ? rc
		      : error_set(error, -EINVAL, "two of them overlap", "give each address once",
				  "use the regions at %s", address_format(text, group->regions.items[at].start));
}

int run_regions(struct run *run, struct region_vec **regions)
{
	static struct region_vec none;
	struct region_group *group = group_of_target(run);
	struct error error = {0};
	int rc;

	if (group)
		region_vec_sort(&group->regions);
	*regions = group ? &group->regions : &none;
	rc = check_group(run, group, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}
