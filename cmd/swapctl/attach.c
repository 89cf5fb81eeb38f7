/* SPDX-License-Identifier: MIT */
/* swapctl attach: a session for a process. */
#include "swapctl.h"
#include "verb/notify.h"

int verb_attach(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl attach");
	_cleanup_attach_ struct attach_texts texts = {0};
	int foreground = 0;
	const struct poptOption options[] = {
		ATTACH_OPTIONS(texts),
		{"foreground", 0, POPT_ARG_NONE, &foreground, 0, "stay until the session ends", NULL},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "swapctl attach",
		.usage = "-p PID [OPTION...]",
		.about = "Makes a session for a process: what is needed to swap it out and serve its faults.",
		.options = options,
		.takes = CLI_TAKES_PID,
	};
	struct session_options session;
	struct error error = {0};
	int status;
	int rc;

	if (cli_popt_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = attach_parse(&run, &texts, &session);
	if (status == EXIT_DONE)
		status = run_open(&run, session_columns, "session", false);
	if (status != EXIT_DONE)
		return status;
	session.foreground = foreground;
	rc = session_attach(&run.target, &session, foreground ? notify_record : run_record, &run, &error);
	return run_finish(&run, rc < 0 ? run_failed(&run, rc, &error) : EXIT_DONE);
}
