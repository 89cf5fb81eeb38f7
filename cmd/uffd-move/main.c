/* SPDX-License-Identifier: MIT */
/* uffd-move: moves pages from one place of a live process to another. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "uffd-move.h"
#include "watch.h"

static const struct report_column columns[] = {
	{"src", "SOURCE", COLUMN_TEXT},
	{"dst", "DESTINATION", COLUMN_TEXT},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"moved_bytes", "MOVED", COLUMN_SIZE},
	{"hole_bytes", "HOLES", COLUMN_SIZE},
	{"failed_bytes", "FAILED", COLUMN_SIZE},
	{"calls", "CALLS", COLUMN_NUMBER},
	{"time_us", "TIME_US", COLUMN_NUMBER},
	{"longest_stop_us", "STOP_US", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column watch_columns[] = {
	{"by", "BY", COLUMN_TEXT},
	{"name", "NAME", COLUMN_TEXT},
	{"tid", "TID", COLUMN_NUMBER},
	{"touches", "TOUCHES", COLUMN_NUMBER},
	{"touched_bytes", "TOUCHED", COLUMN_SIZE},
	{NULL, NULL, COLUMN_TEXT},
};

/* The longest that --watch and --again take: what poll(2) can wait. */
#define WATCH_MS_MAX INT32_MAX

/* The tool's own options as they were written. */
struct texts {
	char *src, *dst, *length, *method;
	char *seconds, *again;
	int watch;
	int holes, dont_wake, exclusive, dry_run, reverse, yes;
};

static void texts_free(struct texts *texts)
{
	char **all[] = {&texts->src, &texts->dst, &texts->length, &texts->method, &texts->seconds, &texts->again};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		cleanup_free(all[i]);
}

static int parse_method(const struct texts *texts, struct move_options *options)
{
	if (!texts->method || strcmp(texts->method, "move") == 0)
		options->method = MOVE_UFFD;
	else if (strcmp(texts->method, "mremap") == 0)
		options->method = MOVE_MREMAP;
	else
		return cli_usage_error(NAME, "--method: %s is neither move nor mremap", texts->method);
	return EXIT_DONE;
}

/* Pages that are watched go where the session keeps them, and come back by themselves. */
static int check_watch(const struct texts *texts)
{
	const struct {
		bool given;
		const char *name;
	} others[] = {
		{texts->dst, "--dst"},
		{texts->method, "--method"},
		{texts->holes, "--allow-src-holes"},
		{texts->dont_wake, "--dontwake"},
		{texts->exclusive, "--make-exclusive"},
		{texts->reverse, "--reverse"},
		{texts->dry_run, "--dry-run"},
		{texts->yes, "--yes"},
	};

	if (!texts->watch && texts->again)
		return cli_usage_error(NAME, "--again: only with --watch");
	for (size_t i = 0; texts->watch && i < ARRAY_SIZE(others); i++)
		if (others[i].given)
			return cli_usage_error(NAME, "%s: not with --watch", others[i].name);
	return EXIT_DONE;
}

/* A time above 0, with a fraction or without, in units of so many milliseconds. Returns 0 or -EINVAL. */
static int parse_time(const char *text, double unit_ms, uint64_t *ms)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isdigit((unsigned char)*text) || !(value * unit_ms >= 1) ||
	    value * unit_ms > WATCH_MS_MAX)
		return -EINVAL;
	*ms = (uint64_t)(value * unit_ms);
	return 0;
}

static int parse_watch(const struct texts *texts, struct watch_options *watch)
{
	if (texts->seconds && parse_time(texts->seconds, 1000, &watch->duration_ms))
		return cli_usage_error(NAME, "--watch: %s is not a number of seconds above 0", texts->seconds);
	if (texts->again && parse_time(texts->again, 1, &watch->again_ms))
		return cli_usage_error(NAME, "--again: %s is not a number of milliseconds above 0", texts->again);
	return EXIT_DONE;
}

/* Options that make no sense beside each other, or alone. */
static int check_together(const struct texts *texts, bool regions)
{
	if (texts->src && regions)
		return cli_usage_error(NAME, "--src and -r: give one of them");
	if (!texts->src && !regions)
		return cli_usage_error(NAME, "which memory? give --src and --length, or -r FILE (see " NAME " --help)");
	if (texts->src && !texts->length)
		return cli_usage_error(NAME, "--src: --length is missing");
	if (!texts->src && (texts->dst || texts->length))
		return cli_usage_error(NAME, "%s: only with --src", texts->dst ? "--dst" : "--length");
	if (texts->reverse && !regions)
		return cli_usage_error(NAME, "--reverse: give the records to take back with -r FILE");
	return check_watch(texts);
}

static int parse_request(const struct texts *texts, struct requests *requests)
{
	bool automatic = !texts->dst || strcmp(texts->dst, "auto") == 0;
	struct request request = {.destination = 0};
	uint64_t bytes;

	if (address_parse(texts->src, &request.source.start) || request.source.start & (page_size() - 1))
		return cli_usage_error(NAME, "--src: %s is not the address of a page in hexadecimal", texts->src);
	if (!automatic && (address_parse(texts->dst, &request.destination) || request.destination & (page_size() - 1) ||
			   !request.destination))
		return cli_usage_error(NAME, "--dst: %s is neither the address of a page in hexadecimal nor auto",
				       texts->dst);
	if (size_parse(texts->length, &bytes) || !bytes || bytes & (page_size() - 1))
		return cli_usage_error(NAME, "--length: %s is not a size above 0 in whole pages", texts->length);
	request.source.end = request.source.start + bytes;
	if (request.source.end < request.source.start)
		return cli_usage_error(NAME, "--length: %s goes beyond the last address", texts->length);
	return requests_add(requests, request) ? EXIT_FAILED : EXIT_DONE;
}

static int parse_options(const struct texts *texts, bool regions, struct move_options *options,
			 struct requests *requests)
{
	int code = check_together(texts, regions);

	if (!code)
		code = parse_method(texts, options);
	if (!code && texts->src)
		code = parse_request(texts, requests);
	options->allow_holes = texts->holes;
	options->dont_wake = texts->dont_wake;
	options->make_exclusive = texts->exclusive;
	options->dry_run = texts->dry_run;
	options->reverse = texts->reverse;
	options->yes = texts->yes;
	return code;
}

/* Somebody has to know where the pages went: the one who chose the place, or the one who says so. */
static int check_safe(const struct move_options *options, const struct requests *requests, struct error *error)
{
	if (options->yes || options->dry_run || options->reverse || options->watch)
		return 0;
	for (size_t i = 0; i < requests->count; i++)
		if (!requests->items[i].destination)
			return error_set(error, -EINVAL, "the program would read zeros where they were",
					 "give a destination that it knows, --watch, or --yes if it does not need them",
					 "move pages to a place of our own");
	return 0;
}

static int read_requests(const struct cli_options *cli, const char *method, struct move_options *options,
			 struct requests *requests, struct error *error)
{
	int rc = 0;

	if (cli->regions)
		rc = requests_read(requests, cli->regions, options->reverse, error);
	if (!rc && requests->by_mremap && !method)
		options->method = MOVE_MREMAP;
	if (!rc && !cli->pid && cli->pidfd < 0 && !requests->pid)
		rc = error_set(error, -EINVAL, "which process? the records do not say", "give -p PID or --pidfd FD",
			       "move pages");
	if (!rc)
		rc = requests_check(requests, error);
	return rc ? rc : check_safe(options, requests, error);
}

static int watch(const struct watch_options *options, const struct requests *requests, const struct target *target,
		 struct report *report, bool *partial, struct error *error)
{
	_cleanup_regions_ struct region_vec regions = {0};

	for (size_t i = 0; i < requests->count; i++)
		if (region_vec_push(&regions, requests->items[i].source))
			return error_set(error, -ENOMEM, NULL, NULL, "watch process %d", target->pid);
	region_vec_sort(&regions);
	return watch_regions(options, target, &regions, report, partial, error);
}

static int run(const struct cli_options *cli, const char *method, struct move_options *options,
	       struct requests *requests, struct report *report, bool *partial, struct error *error)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	int rc = read_requests(cli, method, options, requests, error);

	if (!rc)
		rc = target_open(&target, cli->pid || cli->pidfd >= 0 ? cli->pid : requests->pid, cli->pidfd, error);
	if (!rc)
		rc = target_matches(&target, requests->pid, requests->starttime, error);
	if (!rc)
		rc = target_check(&target, error);
	if (rc)
		return rc;
	if (options->watch)
		return watch(options->watch, requests, &target, report, partial, error);
	/* What has begun is finished, or told; nothing of ours is left in the process. */
	return move_requests(options, requests, &target, report, interrupt_catch(), partial, error);
}

/* Pages that stayed have their own records; what stopped everything is a line of its own. */
static int report_and_run(const struct cli_options *cli, const char *method, struct move_options *options,
			  struct requests *requests)
{
	struct error error = {0};
	struct report *report;
	bool partial = false;
	const char *why;
	int rc, closed;

	if (report_open(&report, cli->format, cli->columns, options->watch ? watch_columns : columns,
			options->watch ? "touched" : "move", &why))
		return cli_usage_error(NAME, "%s", why);
	rc = run(cli, method, options, requests, report, &partial, &error);
	closed = report_close(report);
	if (closed && !rc)
		rc = error_set(&error, closed, NULL, NULL, "write records");
	if (error.code)
		error_print(NAME, &error);
	return rc ? exit_code_of(rc) : partial ? EXIT_PARTIAL : EXIT_DONE;
}

int main(int argc, const char **argv)
{
	char not_given[] = ""; /* popt tells --watch without a value from no --watch in no other way */
	__attribute__((cleanup(texts_free))) struct texts texts = {.seconds = not_given};
	const struct poptOption own[] = {
		{"src", 0, POPT_ARG_STRING, &texts.src, 0, "Move the pages from here on", "ADDR"},
		{"dst", 0, POPT_ARG_STRING, &texts.dst, 0, "Where they go; auto: to a fresh mapping (auto)",
		 "ADDR|auto"},
		{"length", 0, POPT_ARG_STRING, &texts.length, 0, "How many bytes, in whole pages", "BYTES"},
		{"allow-src-holes", 0, POPT_ARG_NONE, &texts.holes, 0, "Pages that are not there are no error", NULL},
		{"dontwake", 0, POPT_ARG_NONE, &texts.dont_wake, 0, "Do not wake threads that wait for a page", NULL},
		{"make-exclusive", 0, POPT_ARG_NONE, &texts.exclusive, 0,
		 "Also move pages that a fork has left marked as shared, if they are not", NULL},
		{"method", 0, POPT_ARG_STRING, &texts.method, 0, "move (UFFDIO_MOVE) or mremap (move)", "METHOD"},
		{"reverse", 0, POPT_ARG_NONE, &texts.reverse, 0, "Take back what the records of -r say was moved",
		 NULL},
		{"dry-run", 'n', POPT_ARG_NONE, &texts.dry_run, 0, "Say what would be moved, change nothing", NULL},
		{"watch", 0, POPT_ARG_STRING | POPT_ARGFLAG_OPTIONAL, &texts.seconds, 0,
		 "Move the pages aside, tell who touches them, let them come back", "SECONDS"},
		{"again", 0, POPT_ARG_STRING, &texts.again, 0, "With --watch: move them aside again every so often",
		 "MS"},
		{"yes", 'y', POPT_ARG_NONE, &texts.yes, 0, "Move even if the program then reads zeros", NULL},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = NAME,
		.usage = "-p PID --src ADDR --length BYTES [OPTION...]\n       " NAME " [-p PID] -r FILE [OPTION...]",
		.about = "Moves pages from one place of a live process to another.",
		.options = own,
		.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	};
	_cleanup_options_ struct cli_options cli = {.pidfd = -1};
	_cleanup_requests_ struct requests requests = {0};
	struct move_options options = {0};
	struct watch_options watching = {0};
	int code, done;

	done = cli_popt_parse(&tool, argc, argv, &cli, NULL, &code);
	texts.watch = texts.seconds != not_given;
	texts.seconds = texts.watch ? texts.seconds : NULL;
	if (done)
		return code;
	options.quiet = cli.quiet;
	if (!cli.pid && cli.pidfd < 0 && !cli.regions)
		return cli_usage_error(NAME, "which process? give -p PID or --pidfd FD (see " NAME " --help)");
	code = parse_options(&texts, cli.regions != NULL, &options, &requests);
	if (!code)
		code = parse_watch(&texts, &watching);
	watching.quiet = cli.quiet;
	options.watch = texts.watch ? &watching : NULL;
	return code ? code : report_and_run(&cli, texts.method, &options, &requests);
}
