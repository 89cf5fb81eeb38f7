/* SPDX-License-Identifier: MIT */
/* reclaimctl run: a command with its large blocks in a ring. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "reclaimctl.h"
#include "verb/command.h"

#define LIBRARY "libuvm-reclaim.so"
#define MIN     (16 * KiB) /* the least that the library takes */

static int prepare(const struct run *run, const char *min)
{
	struct error error = {0};
	uint64_t bytes;

	if (min && (size_parse(min, &bytes) < 0 || bytes < MIN))
		return cli_usage_error(run->name, "--min: %s is not a size of 16K or more", min);
	if ((min && setenv("UVM_RECLAIM_MIN", min, 1) < 0) || command_preload(LIBRARY) < 0)
		return run_failed(run, error_set(&error, -ENOMEM, NULL, NULL, "set the environment"), &error);
	return EXIT_DONE;
}

int verb_run(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("reclaimctl run");
	_cleanup_free_ char *min = NULL;
	char **words = command_words(&argc, argv);
	const struct poptOption options[] = {
		{"min", '\0', POPT_ARG_STRING, &min, 0, "size from which a block is kept in the ring when it is freed",
		 "SIZE"},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "reclaimctl run",
		.usage = "[OPTION...] -- COMMAND [ARGUMENT...]",
		.about = "Runs a command that keeps the large blocks of memory which it has freed in a ring.",
		.options = options,
	};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	if (!words)
		return cli_usage_error(run.name, "which command? Give it after --");
	status = prepare(&run, min);
	return status == EXIT_DONE ? command_exec(run.name, words) : status;
}
