/* swapctl status: one session, or all of them. */
#include "swapctl.h"

int verb_status(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl status");
	const struct cli_tool tool = {
		.name = "swapctl status",
		.usage = "[-p PID] [OPTION...]",
		.about = "Tells what is out, and what a session has done; of all sessions without -p.",
		.takes = CLI_TAKES_PID,
	};
	struct error error = {0};
	int status;
	int rc;

	if (cli_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, session_columns, "session", true);
	if (status != EXIT_DONE)
		return status;
	if (run.target.pidfd >= 0)
		rc = session_request(&run.target, json_pack("{s:s}", "verb", "status"), run_record, &run, &error);
	else
		rc = session_list(run_record, &run, &error);
	return run_finish(&run, rc < 0 ? run_failed(&run, rc, &error) : EXIT_DONE);
}
