/* SPDX-License-Identifier: MIT */
#include "tool/tool.h"

#include <string.h>

/* Cuts a command line where the verb's command begins, and returns that; NULL without one. */
static char **cut_command(const struct cli_verb *verb, int *argc, const char **argv)
{
	for (int i = 1; verb->command && i < *argc; i++) {
		bool dashes = strcmp(argv[i], "--") == 0;

		if (strcmp(argv[i], verb->command) == 0) {
			argv[i] = NULL;
			*argc = i;
			return dashes && !argv[i + 1] ? NULL : (char **)&argv[i + 1];
		}
		if (dashes)
			break;
	}
	return NULL;
}

int tool_main(int argc, const char **argv)
{
	_cleanup_run_ struct run run = {.name = run.options.name, .target = TARGET_NONE};
	int status;

	if (cli_find_verb(&tool, argc, argv, &run.verb, &status))
		return status;
	if (run.verb->name) {
		argc--;
		argv++;
	}
	run.command = cut_command(run.verb, &argc, argv);
	if (cli_parse(&tool, run.verb, argc, argv, &run.options, &run.operands, &status))
		return status;
	return run_finish(&run, run.verb->run(&run));
}
