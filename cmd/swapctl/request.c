/* A verb without options of its own: one request to a session, or to all of them. */
#include "swapctl.h"

int run_request(const struct request_verb *verb, int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE(verb->name);
	const struct cli_tool tool = {
		.name = verb->name,
		.usage = verb->usage,
		.about = verb->about,
		.takes = CLI_TAKES_PID,
	};
	struct error error = {0};
	int status;
	int rc;

	if (cli_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, verb->columns, verb->type, verb->of_all);
	if (status != EXIT_DONE)
		return status;
	if (run.target.pidfd >= 0)
		rc = session_request(&run.target, json_pack("{s:s}", "verb", verb->verb), run_record, &run, &error);
	else
		rc = session_list(run_record, &run, &error);
	if (rc < 0)
		return run_finish(&run, run_failed(&run, rc, &error));
	return run_finish(&run, rc > 0 ? EXIT_PARTIAL : EXIT_DONE);
}
