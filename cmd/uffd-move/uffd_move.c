/* SPDX-License-Identifier: MIT */
/* uffd-move: moves pages from one place of a live process to another. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/interrupt.h"
#include "proc/maps.h"
#include "uffd-move.h"

const struct report_column move_columns[] = {
	{"src", "SOURCE", COLUMN_ADDRESS},
	{"dst", "DESTINATION", COLUMN_ADDRESS},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"moved_bytes", "MOVED", COLUMN_SIZE},
	{"hole_bytes", "HOLES", COLUMN_SIZE},
	{"failed_bytes", "FAILED", COLUMN_SIZE},
	{"calls", "CALLS", COLUMN_NUMBER | COLUMN_WIDE},
	{"time_us", "TIME", COLUMN_TIME | COLUMN_WIDE},
	{"longest_stop_us", "STOP", COLUMN_TIME | COLUMN_WIDE},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column watch_columns[] = {
	{"by", "BY", COLUMN_TEXT},
	{"name", "NAME", COLUMN_NAME},
	{"tid", "TID", COLUMN_NUMBER},
	{"touches", "TOUCHES", COLUMN_NUMBER},
	{"touched_bytes", "TOUCHED", COLUMN_SIZE},
	{NULL, NULL, COLUMN_TEXT},
};

static bool is_watching(const struct run *run)
{
	return cli_given(&run->options, "watch");
}

/* Pages that are watched go where the session keeps them, and come back by themselves. */
static int check_watch(const struct run *run)
{
	static const char *const others[] = {
		"dst", "method", "allow-src-holes", "dontwake", "make-exclusive", "reverse", "dry-run", "yes"};

	for (size_t i = 0; is_watching(run) && i < ARRAY_SIZE(others); i++)
		if (cli_given(&run->options, others[i]))
			return cli_usage_error(run->name, "--%s: not with --watch", others[i]);
	return EXIT_DONE;
}

static int check_words(const struct run *run)
{
	bool source = cli_given(&run->options, "src");

	if (!cli_chooses_process(&run->options) && !run->options.regions)
		return cli_usage_error(run->name, "which process? give -p PID (see %s --help)", run->name);
	if (!source && !run->options.regions && !is_watching(run))
		return cli_usage_error(run->name,
				       "which memory? give --src and --length, -r FILE, or --watch (see %s --help)",
				       run->name);
	if (source && !cli_given(&run->options, "length"))
		return cli_usage_error(run->name, "--src: --length is missing");
	return check_watch(run);
}

/* The region of --src. Returns an exit code. */
static int add_source(const struct run *run, struct requests *requests)
{
	const struct move_values *values = run_values(run);
	struct region source = {values->src, values->src + values->length};

	if (!values->length)
		return EXIT_DONE;
	if (source.end < source.start)
		return cli_usage_error(run->name, "--length: it goes beyond the last address");
	return requests_add(requests, (struct request){source, values->dst}) < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* It must be known where the pages went: by who chose the place, or by who says so. */
static int check_safe(const struct run *run, const struct move_options *options, const struct requests *requests,
		      struct error *error)
{
	bool told = !options->quiet || run->options.style.output;

	if ((options->yes && told) || options->dry_run || options->reverse || is_watching(run))
		return 0;
	for (size_t i = 0; i < requests->count; i++)
		if (!requests->items[i].destination && !told)
			return error_set(error, -EINVAL, "nothing would tell where they went",
					 "give a destination, or leave -q out", "move pages to a place of our own");
		else if (!requests->items[i].destination)
			return error_set(error, -EINVAL, "the program would read zeros where they were",
					 "give a destination that it knows, --watch, or --yes if it does not need them",
					 "move pages to a place of our own");
	return 0;
}

/* Where the records name the process, it is as if -p had named it. */
static int use_process(struct run *run, const struct requests *requests, struct error *error)
{
	struct cli_processes *processes = &run->options.processes;

	if (cli_chooses_process(&run->options))
		return 0;
	if (!requests->pid)
		return error_set(error, -EINVAL, "which process? the records do not say", "give -p PID", "move pages");
	processes->pids = calloc(2, sizeof(*processes->pids));
	if (!processes->pids)
		return error_set(error, -ENOMEM, NULL, NULL, "move pages");
	processes->pids[0] = requests->pid;
	return 0;
}

static int read_requests(struct run *run, struct move_options *options, struct requests *requests, struct error *error)
{
	const struct cli_options *cli = &run->options;
	int rc = cli->regions ? requests_read(requests, cli->regions, options->reverse, error) : 0;

	if (!rc && requests->by_mremap && !cli_given(cli, "method"))
		options->method = MOVE_MREMAP;
	if (!rc)
		rc = use_process(run, requests, error);
	if (!rc)
		rc = requests_check(requests, error);
	return rc ? rc : check_safe(run, options, requests, error);
}

static int watch_requests(struct run *run, const struct requests *requests, bool *partial, struct error *error)
{
	struct move_watch_options options = ((const struct move_values *)run_values(run))->watch;
	_cleanup_regions_ struct region_vec regions = {0};

	options.quiet = run->options.quiet;
	options.later = !cli_given(&run->options, "src") && !run->options.regions;
	for (size_t i = 0; i < requests->count; i++)
		if (region_vec_push(&regions, requests->items[i].source))
			return error_set(error, -ENOMEM, NULL, NULL, "watch process %d", run->target.pid);
	region_vec_sort(&regions);
	return watch_regions(&options, &run->target, &regions, run->report, partial, error);
}

static int run_requests(struct run *run, const struct move_options *options, const struct requests *requests,
			bool *partial, struct error *error)
{
	int rc = target_matches(&run->target, requests->pid, requests->starttime, error);

	if (!rc)
		rc = target_check(&run->target, error);
	if (rc)
		return rc;
	if (requests->cut)
		run_cut(run);
	if (is_watching(run))
		return watch_requests(run, requests, partial, error);
	/* What has begun is finished, or told; nothing foreign is left in the process. */
	return move_requests(options, requests, &run->target, run->report, interrupt_catch(), partial, error);
}

/* The records were read already, with what they say of destinations. */
static int open_process(struct run *run)
{
	bool watching = is_watching(run);
	char *regions = run->options.regions;
	int status;

	run->options.regions = NULL;
	status = run_open(run, watching ? watch_columns : move_columns, watching ? "touched" : "move");
	run->options.regions = regions;
	return status;
}

/* Pages that stayed have their own records; what stopped everything is a line of its own. */
static int open_and_move(struct run *run, const struct move_options *options, const struct requests *requests)
{
	struct error error = {0};
	bool partial = false;
	int status = open_process(run);
	int rc;

	if (status != EXIT_DONE)
		return status;
	rc = run_requests(run, options, requests, &partial, &error);
	if (rc && !error.code)
		status = exit_code_of(rc);
	else
		status = rc || !partial ? run_result(run, rc, &error) : EXIT_PARTIAL;
	return status == EXIT_DONE ? status : interrupt_status(status);
}

int verb_move(struct run *run)
{
	const struct move_values *values = run_values(run);
	_cleanup_requests_ struct requests requests = {0};
	struct move_options options = values->move;
	struct error error = {0};
	int status = check_words(run);
	int rc;

	options.quiet = run->options.quiet;
	if (status == EXIT_DONE)
		status = add_source(run, &requests);
	if (status != EXIT_DONE)
		return status;
	rc = read_requests(run, &options, &requests, &error);
	return rc ? run_failed(run, rc, &error) : open_and_move(run, &options, &requests);
}
