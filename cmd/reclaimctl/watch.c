/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: reclaims what programs do not need, for as long as it runs. */
#include "watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"

#define NAME        "reclaimctl watch"
#define SECONDS_MAX INT64_C(86400)
#define SECOND      UINT64_C(1000000000)

static const struct report_column reclaim_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},         {"why", "WHY", COLUMN_TEXT},     {"level", "LEVEL", COLUMN_TEXT},
	{"entries", "ENTRIES", COLUMN_NUMBER}, {"bytes", "BYTES", COLUMN_SIZE}, {"ring_bytes", "LEFT", COLUMN_SIZE},
	{"time_us", "TIME_US", COLUMN_NUMBER}, {NULL, NULL, COLUMN_TEXT},
};

struct texts {
	char *pidfd, *interval, *period, *grace, *margin, *warning, *critical;
};

static void texts_free(struct texts *t)
{
	char **all[] = {&t->pidfd, &t->interval, &t->period, &t->grace, &t->margin, &t->warning, &t->critical};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		free(*all[i]);
}

/* Seconds, or a time with its unit. */
static int parse_time(const char *option, const char *text, uint64_t lowest_ns, uint64_t *ns)
{
	int64_t seconds;
	uint64_t us = 0;

	if (!text)
		return EXIT_DONE;
	if (number_parse(text, 0, SECONDS_MAX, &seconds) == 0)
		us = (uint64_t)seconds * 1000000;
	else if (duration_parse(text, &us) < 0 || us > (uint64_t)SECONDS_MAX * 1000000)
		us = UINT64_MAX;
	if (us == UINT64_MAX || us * 1000 < lowest_ns)
		return cli_usage_error(NAME, "--%s: %s is not a time from %s to a day, such as 10s or 500ms", option,
				       text, lowest_ns ? "10ms" : "0");
	*ns = us * 1000;
	return EXIT_DONE;
}

static int parse_trigger(const char *option, const char *text, struct watch_trigger *trigger)
{
	if (!text)
		return EXIT_DONE;
	trigger->given = true;
	*trigger->text = '\0';
	if (strcmp(text, "none") == 0)
		return EXIT_DONE;
	if (pressure_trigger_parse(text, trigger->text) < 0)
		return cli_usage_error(
			NAME,
			"--%s: %s is neither none nor like some:150ms/2s (some or full, and a window from "
			"500ms to 10s that the first time fits in)",
			option, text);
	return EXIT_DONE;
}

static int parse_knobs(const struct texts *t, struct watch_options *options)
{
	int status = parse_time("interval", t->interval, SECOND / 100, &options->interval_ns);

	if (status == EXIT_DONE)
		status = parse_time("period", t->period, SECOND / 100, &options->period_ns);
	if (status == EXIT_DONE)
		status = parse_time("grace", t->grace, 0, &options->knobs.grace_ns);
	if (status == EXIT_DONE && t->margin && size_parse(t->margin, &options->knobs.margin) < 0)
		status = cli_usage_error(NAME, "--margin: %s is not a size", t->margin);
	if (status == EXIT_DONE)
		status = parse_trigger("warning", t->warning, &options->triggers[RING_WARNING]);
	if (status == EXIT_DONE)
		status = parse_trigger("critical", t->critical, &options->triggers[RING_CRITICAL]);
	return status;
}

static int parse_pidfd(const char *text, struct watch_options *options)
{
	int64_t number;

	options->pidfd = -1;
	if (!text)
		return EXIT_DONE;
	if (number_parse(text, 0, INT32_MAX, &number) < 0)
		return cli_usage_error(NAME, "--pidfd: %s is not a descriptor number", text);
	options->pidfd = (int)number;
	return EXIT_DONE;
}

static int check_processes(const struct watch_options *options)
{
	int status;

	if (!!options->pids + (options->pidfd >= 0) + options->all > 1)
		return cli_usage_error(NAME, "--pid, --pidfd and --all: only one of them");
	if (!options->pids && options->pidfd < 0 && !options->all)
		return cli_usage_error(NAME, "which processes? Give them with -p PID... or --pidfd FD, or take --all");
	if (!options->pids && options->more && *options->more)
		return cli_usage_error(NAME, "%s: is it a process? Say so with -p", *options->more);
	status = cli_check_pids(NAME, options->pids);
	return status == EXIT_DONE ? cli_check_pids(NAME, options->more) : status;
}

int verb_watch(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE(NAME);
	__attribute__((cleanup(texts_free))) struct texts texts = {0};
	_cleanup_operands_ char **named = NULL; /* with -p, and after it */
	_cleanup_operands_ char **more = NULL;
	int all = 0;
	int dry_run = 0;
	struct watch_options watch = {
		.interval_ns = SECOND,
		.knobs = {.grace_ns = 30 * SECOND, .margin = 32 * MiB},
		.triggers = {[RING_WARNING] = {.text = "some 150000 2000000"},
			     [RING_CRITICAL] = {.text = "full 150000 2000000"}},
	};
	const struct poptOption options[] = {
		{"pid", 'p', POPT_ARG_ARGV, &named, 0, "the processes, one or more", "PID..."},
		{"pidfd", 0, POPT_ARG_STRING, &texts.pidfd, 0, "the process, by an inherited pidfd", "FD"},
		{"all", 0, POPT_ARG_NONE, &all, 0, "all processes that have a ring, as they come and go", NULL},
		{"interval", 0, POPT_ARG_STRING, &texts.interval, 0, "between looks (1s)", "TIME"},
		{"period", 0, POPT_ARG_STRING, &texts.period, 0, "of sampling (as the ring says: 10s at first)",
		 "TIME"},
		{"grace", 0, POPT_ARG_STRING, &texts.grace, 0, "stopped for so long before it is drained (30s)",
		 "TIME"},
		{"margin", 0, POPT_ARG_STRING, &texts.margin, 0, "keep free below a cgroup's limit (32M)", "BYTES"},
		{"warning", 0, POPT_ARG_STRING, &texts.warning, 0,
		 "pressure at which half of a ring goes (some:150ms/2s)", "none|some|full:TIME/WINDOW"},
		{"critical", 0, POPT_ARG_STRING, &texts.critical, 0, "pressure at which all of it goes (full:150ms/2s)",
		 "none|some|full:TIME/WINDOW"},
		{"dry-run", 'n', POPT_ARG_NONE, &dry_run, 0, "say what would be reclaimed, change nothing", NULL},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = NAME,
		.usage = "-p PID...|--pidfd FD|--all [OPTION...]",
		.about = "Reclaims what waits in rings: what their programs show not to need, when memory is short, "
			 "when a process is stopped, before its cgroup's limit is hit.",
		.options = options,
		.operands = -1,
	};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, &more, &status))
		return status;
	watch.pids = named;
	watch.more = more;
	watch.all = all;
	watch.dry_run = dry_run;
	watch.verbose = run.options.verbose;
	status = parse_pidfd(texts.pidfd, &watch);
	if (status == EXIT_DONE)
		status = check_processes(&watch);
	if (status == EXIT_DONE)
		status = parse_knobs(&texts, &watch);
	if (status == EXIT_DONE)
		status = run_open(&run, reclaim_columns, "reclaim", true);
	if (status == EXIT_DONE)
		status = watch_run(&run, &watch);
	return run_finish(&run, status);
}
