/* SPDX-License-Identifier: MIT */
/* reclaimctl run: a command with its large blocks in a ring. */
#include <errno.h>
#include <stdlib.h>

#include "reclaimctl.h"
#include "tool/command.h"

#define LIBRARY "libuvm-reclaim.so"

static int prepare_environment(const struct run *run, const char *min)
{
	struct error error = {0};

	if ((*min && setenv("UVM_RECLAIM_MIN", min, 1) < 0) || command_preload(LIBRARY) < 0)
		return run_failed(run, error_set(&error, -ENOMEM, NULL, NULL, "set the environment"), &error);
	return EXIT_DONE;
}

int verb_run(struct run *run)
{
	const struct reclaimctl_values *values = run_values(run);
	int status;

	if (!run->command)
		return cli_usage_error(run->name, "which command? Give it after --");
	status = prepare_environment(run, values->min);
	return status == EXIT_DONE ? command_exec(run->name, run->command) : status;
}
