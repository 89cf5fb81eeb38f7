/* swapctl check: whether a session's books are in order. */
#include "swapctl.h"

int verb_check(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl check");
	const struct cli_tool tool = {
		.name = "swapctl check",
		.usage = "-p PID [OPTION...]",
		.about = "Verifies a session: what is out against the store, every record of it, and the process.",
		.takes = CLI_TAKES_PID,
	};
	struct error error = {0};
	int status;
	int rc;

	if (cli_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, error_columns, "error", false);
	if (status != EXIT_DONE)
		return status;
	rc = session_request(&run.target, json_pack("{s:s}", "verb", "check"), run_record, &run, &error);
	return run_finish(&run, rc < 0 ? run_failed(&run, rc, &error) : EXIT_DONE);
}
