/* SPDX-License-Identifier: MIT */
/* The frame of a verb. */
#include <errno.h>
#include <string.h>

#include "base/size.h"
#include "tool/verb.h"

int run_failed(const struct run *run, int rc, const struct error *error)
{
	error_print(run->name, error);
	return exit_code_of(rc);
}

int run_open(struct run *run, const struct report_column *columns, const char *type, bool target_optional)
{
	bool named = run->options.pid || run->options.pidfd >= 0;
	struct error error = {0};
	const char *why = NULL;
	int rc = report_open(&run->report, run->options.format, run->options.columns, columns, type, &why);

	if (rc == -ENOMEM)
		return run_failed(run, error_set(&error, rc, NULL, NULL, "write records"), &error);
	if (rc < 0)
		return cli_usage_error(run->name, "%s", why);
	if (!named)
		return target_optional ? EXIT_DONE
				       : cli_usage_error(run->name, "which process? Give it with -p PID or --pidfd FD");
	rc = target_open(&run->target, run->options.pid, run->options.pidfd, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

int run_begin(struct run *run)
{
	return run_open(run, run->verb->columns, run->verb->type, run->verb->target_optional);
}

void run_close(struct run *run)
{
	progress_end(&run->progress);
	report_close(run->report);
	target_close(&run->target);
	cli_operands_free(&run->operands);
	cli_options_free(&run->options);
}

int run_finish(struct run *run, int status)
{
	int rc = report_close(run->report);
	struct error error = {0};

	run->report = NULL;
	if (rc == 0 || rc == -EPIPE)
		return rc == -EPIPE && status == EXIT_DONE ? EXIT_FAILED : status;
	error_set(&error, rc, NULL, "is its file system full?", "write records");
	error_print(run->name, &error);
	return status == EXIT_DONE || status == EXIT_PARTIAL ? EXIT_FAILED : status;
}

int run_result(struct run *run, int rc, const struct error *error)
{
	int status = rc < 0 ? run_finish(run, EXIT_DONE) : EXIT_DONE;

	return rc < 0 && status == EXIT_DONE ? run_failed(run, rc, error) : status;
}

void run_record(void *context, json_t *record)
{
	struct run *run = context;
	const char *type = json_string_value(json_object_get(record, "type"));

	if (type && strcmp(type, "progress") == 0) {
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
