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

/* A signal has ended it, or nobody reads what it prints. */
static bool is_over(const struct run *run, const struct outcome *outcome)
{
	return outcome->status >= EXIT_SIGNALLED || (run->report && report_failed(run->report));
}

void run_close(struct run *run)
{
	progress_end(&run->progress);
	report_close(run->report);
	target_close(&run->target);
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

static int check_input(const struct run *run, struct region_input *input, struct error *error)
{
	char text[ADDRESS_TEXT];
	int rc = target_matches(&run->target, input->pid, input->starttime, error);
	ptrdiff_t at;

	if (rc < 0)
		return rc;
	region_vec_sort(&input->regions);
	at = region_vec_overlap(&input->regions);
	if (at >= 0)
		return error_set(error, -EINVAL, "two of them overlap", "give each address once",
				 "use the regions at %s", address_format(text, input->regions.items[at].start));
	return 0;
}

int run_input(const struct run *run, struct region_input *input)
{
	struct error error = {0};
	int rc;

	*input = (struct region_input){0};
	if (!run->options.regions)
		return EXIT_DONE;
	rc = region_input_read(input, run->options.regions, page_size(), &error);
	if (rc == 0)
		rc = check_input(run, input, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}
