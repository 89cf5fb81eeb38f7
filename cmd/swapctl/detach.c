/* swapctl detach: everything back, nothing of ours left. */
#include "swapctl.h"

int verb_detach(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl detach");
	const struct cli_tool tool = {
		.name = "swapctl detach",
		.usage = "-p PID [OPTION...]",
		.about = "Brings everything back, removes the session, and leaves the process as it was.",
		.takes = CLI_TAKES_PID,
	};
	struct error error = {0};
	int status;
	int rc;

	if (cli_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, region_columns, "region", false);
	if (status != EXIT_DONE)
		return status;
	rc = session_request(&run.target, json_pack("{s:s}", "verb", "detach"), run_record, &run, &error);
	return run_finish(&run, rc < 0 ? run_failed(&run, rc, &error) : rc > 0 ? EXIT_PARTIAL : EXIT_DONE);
}
