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

/* When it acts, of which only one can be said. */
static int parse_when(const struct run *run, const struct swapctl_values *values, struct policy_params *params)
{
	bool target = cli_given(&run->options, "target");

	if (!!*values->pressure + target + !!params->hold_ppm > 1)
		return cli_usage_error(run->name, "--pressure, --target and --hold: only one of them");
	if (*values->pressure)
		params->when = POLICY_PRESSURE;
	if (target)
		params->when = POLICY_TARGET;
	if (params->hold_ppm)
		params->when = POLICY_HOLD;
	if (params->hold_ppm && !cli_given(&run->options, "interval"))
		params->interval_ms = HOLD_INTERVAL_MS;
	return EXIT_DONE;
}

static int check_pids(const struct run *run, const struct auto_options *options)
{
	int status;

	if (!options->pids && !options->cgroup)
		return cli_usage_error(run->name, "which processes? Give them with -p PID... or --cgroup PATH");
	if (options->pids && options->cgroup)
		return cli_usage_error(run->name, "--cgroup: not with -p");
	if (!options->pids && *options->more)
		return cli_usage_error(run->name, "%s: is it a process? Say so with -p", *options->more);
	status = cli_check_pids(run->name, options->pids);
	return status == EXIT_DONE ? cli_check_pids(run->name, options->more) : status;
}

int verb_auto(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct auto_options options = {
		.pids = values->pids,
		.more = run->operands,
		.cgroup = values->cgroup,
		.params = values->params,
		.trigger = values->pressure,
		.session = values->session,
		.explain = values->explain,
		.leave = values->leave,
	};
	int status = check_pids(run, &options);

	options.params.limit = options.session.limit;
	if (status == EXIT_DONE)
		status = parse_when(run, values, &options.params);
	if (status == EXIT_DONE)
		status = run_begin(run);
	return status == EXIT_DONE ? auto_run(run, &options) : status;
}
