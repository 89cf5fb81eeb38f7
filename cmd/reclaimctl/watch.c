/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: reclaims what programs do not need, for as long as it runs. */
#include "watch.h"

const struct report_column reclaim_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},         {"why", "WHY", COLUMN_TEXT},     {"level", "LEVEL", COLUMN_TEXT},
	{"entries", "ENTRIES", COLUMN_NUMBER}, {"bytes", "BYTES", COLUMN_SIZE}, {"ring_bytes", "LEFT", COLUMN_SIZE},
	{"time_us", "TIME_US", COLUMN_NUMBER}, {NULL, NULL, COLUMN_TEXT},
};

static int check_processes(const struct run *run, const struct watch_options *options)
{
	int status;

	if (!!options->pids + (options->pidfd >= 0) + options->all > 1)
		return cli_usage_error(run->name, "--pid, --pidfd and --all: only one of them");
	if (!options->pids && options->pidfd < 0 && !options->all)
		return cli_usage_error(run->name,
				       "which processes? Give them with -p PID... or --pidfd FD, or take --all");
	if (!options->pids && *options->more)
		return cli_usage_error(run->name, "%s: is it a process? Say so with -p", *options->more);
	status = cli_check_pids(run->name, options->pids);
	return status == EXIT_DONE ? cli_check_pids(run->name, options->more) : status;
}

int verb_watch(struct run *run)
{
	const struct reclaimctl_values *values = run_values(run);
	struct watch_options watch = values->watch;
	int status;

	watch.more = run->operands;
	watch.verbose = run->options.verbose;
	watch.triggers[RING_WARNING].given = cli_given(&run->options, "warning");
	watch.triggers[RING_CRITICAL].given = cli_given(&run->options, "critical");
	if (!cli_given(&run->options, "pidfd"))
		watch.pidfd = -1;
	status = check_processes(run, &watch);
	if (status == EXIT_DONE)
		status = run_begin(run);
	return status == EXIT_DONE ? watch_run(run, &watch) : status;
}
