/* SPDX-License-Identifier: MIT */
/* swapctl auto: cold memory out, for as long as it runs. */
#include "auto.h"

#define HOLD_INTERVAL_MS 6000 /* senpai's */

const struct report_column round_columns[] = {
	{"pid", "PID", COLUMN_NUMBER},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"regions", "REGIONS", COLUMN_NUMBER},
	{"moved_bytes", "MOVED", COLUMN_SIZE},
	{"refaulted_pages", "REFAULTED", COLUMN_NUMBER},
	{"pool_bytes", "POOL", COLUMN_SIZE},
	{"store_bytes", "STORE", COLUMN_SIZE},
	{"time_us", "TIME", COLUMN_TIME},
	{NULL, NULL, COLUMN_TEXT},
};

static int parse_when(const struct run *run, const struct swapctl_values *values, struct policy_params *params)
{
	if (params->hold_ppm && values->once)
		return cli_usage_error(run->name, "--hold: not with --once, which knows nothing of before");
	if (*values->pressure)
		params->when |= POLICY_PRESSURE;
	if (cli_given(&run->options, "target"))
		params->when |= POLICY_TARGET;
	if (params->hold_ppm)
		params->when |= POLICY_HOLD;
	if (params->hold_ppm && !cli_given(&run->options, "interval"))
		params->interval_ms = HOLD_INTERVAL_MS;
	return EXIT_DONE;
}

int verb_auto(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct auto_options options = {
		.params = values->params,
		.trigger = values->pressure,
		.session = values->session,
		.explain = values->explain,
		.leave = values->leave || values->once,
		.once = values->once,
		.preferences = values->preferences,
		.kernel = kernel_chosen(&values->session),
	};
	int status;

	if (!cli_chooses_process(&run->options))
		return cli_usage_error(run->name, "which processes? Give their pids, --cgroup PATH or --unit NAME");

	if (cli_given(&run->options, "target") && !cli_given(&run->options, "limit"))
		options.session.limit = 0; /* the target says how much is to leave */
	options.params.limit = options.session.limit;
	/* Nobody is there later to write back what waits. */
	if (options.once && !cli_given(&run->options, "stage"))
		options.params.stage_ms = 0;
	status = options.kernel ? kernel_check_options(run) : EXIT_DONE;
	if (options.kernel) /* the kernel bounds its swap itself, and there is no session to pay for */
		options.params.limit = options.params.total_limit = options.params.min_saved = 0;
	if (status == EXIT_DONE)
		status = parse_when(run, values, &options.params);
	if (status == EXIT_DONE)
		status = run_report(run);
	return status == EXIT_DONE ? auto_run(run, &options) : status;
}
