/* SPDX-License-Identifier: MIT */
/* swapctl auto: cold memory out, for as long as it runs. */
#include "auto.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"

#define NAME             "swapctl auto"
#define SECONDS_MAX      31536000
#define HOLD_INTERVAL_MS 6000 /* senpai's */

static const struct report_column round_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"regions", "REGIONS", COLUMN_NUMBER},
	{"moved_bytes", "MOVED", COLUMN_SIZE},
	{"refaulted_pages", "REFAULTED", COLUMN_NUMBER},
	{"pool_bytes", "POOL", COLUMN_SIZE},
	{"store_bytes", "STORE", COLUMN_SIZE},
	{"time_us", "TIME_US", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

struct texts {
	char *cgroup, *stage, *backoff, *interval, *regions, *min_free, *min_saved, *total_limit, *pressure, *target,
		*hold;
};

static void texts_free(struct texts *t)
{
	char **all[] = {&t->cgroup,    &t->stage,       &t->backoff,  &t->interval, &t->regions, &t->min_free,
			&t->min_saved, &t->total_limit, &t->pressure, &t->target,   &t->hold};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		free(*all[i]);
}

static int parse_seconds(const char *option, const char *text, int64_t lowest, uint64_t *ms)
{
	int64_t seconds;

	if (!text)
		return EXIT_DONE;
	if (number_parse(text, lowest, SECONDS_MAX, &seconds) < 0)
		return cli_usage_error(NAME, "--%s: %s is not a number of seconds from %d to %d", option, text,
				       (int)lowest, SECONDS_MAX);
	*ms = (uint64_t)seconds * 1000;
	return EXIT_DONE;
}

static int parse_size(const char *option, const char *text, bool zero, uint64_t *bytes)
{
	if (text && (size_parse(text, bytes) < 0 || (!zero && !*bytes)))
		return cli_usage_error(NAME, "--%s: %s is not a size%s", option, text, zero ? "" : " above 0");
	return EXIT_DONE;
}

static int parse_regions(const char *text, unsigned int *regions)
{
	int64_t number;

	if (!text)
		return EXIT_DONE;
	if (number_parse(text, 1, 1000000, &number) < 0)
		return cli_usage_error(NAME, "--regions-per-round: %s is not a number from 1 to 1000000", text);
	*regions = (unsigned int)number;
	return EXIT_DONE;
}

/* Percent of the time, as parts of a million. */
static int parse_hold(const char *text, uint64_t *ppm)
{
	char *end;
	double percent = strtod(text, &end);

	if (!isdigit((unsigned char)*text) || *end || !(percent >= 0.0001) || percent > 100)
		return cli_usage_error(NAME, "--hold: %s is not a percentage above 0", text);
	*ppm = (uint64_t)(percent * 10000);
	return EXIT_DONE;
}

static int parse_when(const struct texts *t, struct auto_options *options)
{
	struct policy_knobs *knobs = &options->knobs;

	if (!!t->pressure + !!t->target + !!t->hold > 1)
		return cli_usage_error(NAME, "--pressure, --target and --hold: only one of them");
	if (t->pressure) {
		knobs->when = POLICY_PRESSURE;
		if (pressure_trigger_parse(t->pressure, options->trigger) < 0)
			return cli_usage_error(NAME,
					       "--pressure: %s is not like some:150ms/1s (some or full, and a window "
					       "from 500ms to 10s that the first time fits in)",
					       t->pressure);
	}
	if (t->target) {
		knobs->when = POLICY_TARGET;
		return parse_size("target", t->target, true, &knobs->target);
	}
	if (t->hold) {
		knobs->when = POLICY_HOLD;
		return parse_hold(t->hold, &knobs->hold_ppm);
	}
	return EXIT_DONE;
}

static int parse_knobs(const struct texts *t, struct auto_options *options)
{
	struct policy_knobs *knobs = &options->knobs;
	int status = parse_when(t, options);

	if (status == EXIT_DONE && knobs->when == POLICY_HOLD)
		knobs->interval_ms = HOLD_INTERVAL_MS;
	if (status == EXIT_DONE)
		status = parse_seconds("stage", t->stage, 0, &knobs->stage_ms);
	if (status == EXIT_DONE)
		status = parse_seconds("refault-backoff", t->backoff, 1, &knobs->backoff_ms);
	if (status == EXIT_DONE)
		status = parse_seconds("interval", t->interval, 1, &knobs->interval_ms);
	if (status == EXIT_DONE)
		status = parse_regions(t->regions, &knobs->regions_per_round);
	if (status == EXIT_DONE)
		status = parse_size("min-free", t->min_free, true, &knobs->min_free);
	if (status == EXIT_DONE)
		status = parse_size("min-saved", t->min_saved, true, &knobs->min_saved);
	if (status == EXIT_DONE)
		status = parse_size("total-limit", t->total_limit, false, &knobs->total_limit);
	return status;
}

static int check_pids(const struct auto_options *options, bool cgroup)
{
	int status;

	if (!options->pids && !cgroup)
		return cli_usage_error(NAME, "which processes? Give them with -p PID... or --cgroup PATH");
	if (options->pids && cgroup)
		return cli_usage_error(NAME, "--cgroup: not with -p");
	if (!options->pids && options->more && *options->more)
		return cli_usage_error(NAME, "%s: is it a process? Say so with -p", *options->more);
	status = cli_check_pids(NAME, options->pids);
	return status == EXIT_DONE ? cli_check_pids(NAME, options->more) : status;
}

static int parse(const struct run *run, const struct texts *texts, const struct attach_texts *attach,
		 struct auto_options *options)
{
	int status = check_pids(options, texts->cgroup);

	if (status == EXIT_DONE)
		status = attach_parse(run, attach, &options->session);
	if (status == EXIT_DONE)
		status = parse_knobs(texts, options);
	if (options->session.limit)
		options->knobs.limit = options->session.limit;
	options->session.limit = options->knobs.limit;
	options->cgroup = texts->cgroup;
	return status;
}

int verb_auto(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE(NAME);
	_cleanup_attach_ struct attach_texts attach = {0};
	__attribute__((cleanup(texts_free))) struct texts texts = {0};
	_cleanup_operands_ char **named = NULL; /* with -p, and after it */
	_cleanup_operands_ char **more = NULL;
	struct auto_options auto_options = {
		.knobs = {.stage_ms = 60000,
			  .backoff_ms = 45000,
			  .interval_ms = 120000,
			  .regions_per_round = 100,
			  .min_free = 128 * MiB,
			  .min_saved = 16 * MiB,
			  .limit = 128 * MiB,
			  .total_limit = 1024 * MiB},
	};
	int explain = 0;
	int leave = 0;
	const struct poptOption options[] = {
		{"pid", 'p', POPT_ARG_ARGV, &named, 0, "the processes, one or more", "PID..."},
		{"cgroup", 0, POPT_ARG_STRING, &texts.cgroup, 0, "the processes in a cgroup, and below it", "PATH"},
		{"stage", 0, POPT_ARG_STRING, &texts.stage, 0, "in memory for so long before the store (60)",
		 "SECONDS"},
		{"refault-backoff", 0, POPT_ARG_STRING, &texts.backoff, 0,
		 "what comes back sooner is left alone, longer each time (45)", "SECONDS"},
		{"interval", 0, POPT_ARG_STRING, &texts.interval, 0, "between rounds of one process (120)", "SECONDS"},
		{"regions-per-round", 0, POPT_ARG_STRING, &texts.regions, 0, "most superpages a round takes (100)",
		 "N"},
		{"min-free", 0, POPT_ARG_STRING, &texts.min_free, 0, "keep free on the store's file system (128M)",
		 "BYTES"},
		{"min-saved", 0, POPT_ARG_STRING, &texts.min_saved, 0,
		 "no session for a process of which less can leave (16M)", "BYTES"},
		{"total-limit", 0, POPT_ARG_STRING, &texts.total_limit, 0, "most bytes of all stores (1024M)", "BYTES"},
		{"pressure", 0, POPT_ARG_STRING, &texts.pressure, 0, "only when the kernel tells of so much pressure",
		 "some|full:TIME/WINDOW"},
		{"target", 0, POPT_ARG_STRING, &texts.target, 0, "only above this much resident memory in all",
		 "BYTES"},
		{"hold", 0, POPT_ARG_STRING, &texts.hold, 0, "only while threads wait for memory for less of the time",
		 "PERCENT"},
		{"explain", 0, POPT_ARG_NONE, &explain, 0, "a record for each decision", NULL},
		{"leave", 0, POPT_ARG_NONE, &leave, 0, "leave the sessions it made when it ends", NULL},
		ATTACH_OPTIONS(attach),
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = NAME,
		.usage = "-p PID...|--cgroup PATH [OPTION...]",
		.about = "Puts cold memory of processes out, finds out by what comes back what is not cold, and "
			 "leaves that alone.",
		.options = options,
		.operands = -1,
	};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, &more, &status))
		return status;
	auto_options.pids = named;
	auto_options.more = more;
	auto_options.explain = explain;
	auto_options.leave = leave;
	status = parse(&run, &texts, &attach, &auto_options);
	if (status == EXIT_DONE)
		status = run_open(&run, round_columns, "round", true);
	if (status == EXIT_DONE)
		status = auto_run(&run, &auto_options);
	return run_finish(&run, status);
}
