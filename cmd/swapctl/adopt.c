/* SPDX-License-Identifier: MIT */
/* swapctl adopt: serves a process again whose session lost both of its own. */
#include "swapctl.h"
#include "verb/notify.h"

int verb_adopt(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl adopt");
	int foreground = 0;
	const struct poptOption options[] = {
		{"foreground", 0, POPT_ARG_NONE, &foreground, 0, "stay until the session ends", NULL},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "swapctl adopt",
		.usage = "-p PID [OPTION...]",
		.about = "Takes up a session whose processes were killed, so that the process's memory comes back when "
			 "it is touched.",
		.options = options,
		.takes = CLI_TAKES_PID,
	};
	struct error error = {0};
	int status;
	int rc;

	if (cli_popt_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, session_columns, "session", false);
	if (status != EXIT_DONE)
		return status;
	rc = session_adopt(&run.target, foreground, foreground ? notify_record : run_record, &run, &error);
	return run_finish(&run, rc < 0 ? run_failed(&run, rc, &error) : EXIT_DONE);
}
