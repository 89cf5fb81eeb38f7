/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: reclaims what programs do not need, for as long as it runs. */
#include "watch.h"

const struct report_column reclaim_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},         {"why", "WHY", COLUMN_TEXT},     {"level", "LEVEL", COLUMN_TEXT},
	{"entries", "ENTRIES", COLUMN_NUMBER}, {"bytes", "BYTES", COLUMN_SIZE}, {"ring_bytes", "LEFT", COLUMN_SIZE},
	{"time_us", "TIME", COLUMN_TIME},      {NULL, NULL, COLUMN_TEXT},
};

int verb_watch(struct run *run)
{
	const struct reclaimctl_values *values = run_values(run);
	struct watch_options watch = values->watch;
	int status = EXIT_DONE;

	watch.verbose = run->options.verbose;
	watch.triggers[RING_WARNING].given = cli_given(&run->options, "warning");
	watch.triggers[RING_CRITICAL].given = cli_given(&run->options, "critical");
	if (!cli_chooses_process(&run->options))
		status = cli_usage_error(run->name, "which processes? Give their pids, or take --all");
	if (status == EXIT_DONE)
		status = run_report(run);
	return status == EXIT_DONE ? watch_run(run, &watch) : status;
}
