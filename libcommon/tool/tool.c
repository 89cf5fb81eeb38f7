/* SPDX-License-Identifier: MIT */
#include "tool/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

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

/*
 * A file that is opened would take the place of one that is closed, and records and messages would be written into a
 * store, a ring or the user's file. With O_PATH both reading and writing fail as they do for a closed one.
 */
static void fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH | O_CLOEXEC) < 0)
			_exit(EXIT_FAILED);
}

int tool_main(int argc, const char **argv)
{
	_cleanup_run_ struct run run = {.name = run.options.name, .target = TARGET_NONE};
	int status;

	fill_standard();
	signal(SIGCHLD, SIG_DFL); /* who started it may have it ignored, and then no child can be waited for */
	if (cli_find_verb(&tool, argc, argv, &run.verb, &status))
		return status;
	if (run.verb->name) {
		argc--;
		argv++;
	}
	run.command = cut_command(run.verb, &argc, argv);
	if (cli_parse(&tool, run.verb, argc, argv, &run.options, &run.operands, &status))
		return status;
	if (run.options.quiet)
		run.options.style.quiet = run.name;
	return run_finish(&run, run.verb->run(&run));
}
