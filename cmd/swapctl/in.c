/* swapctl in: memory back without waiting for faults. */
#include "swapctl.h"

int verb_in(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("swapctl in");
	const struct cli_tool tool = {
		.name = "swapctl in",
		.usage = "-p PID [-r FILE] [OPTION...]",
		.about = "Brings memory that is out back: the given regions, or everything. The session stays.",
		.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	};
	struct error error = {0};
	json_t *regions = NULL;
	json_t *request;
	int signal;
	int status;
	int rc;

	if (cli_parse(&tool, argc, argv, &run.options, NULL, &status))
		return status;
	status = run_open(&run, region_columns, "region", false);
	if (status == EXIT_DONE)
		status = run_regions(&run, &regions);
	if (status != EXIT_DONE)
		return status;
	request = json_pack("{s:s}", "verb", "in");
	if (regions)
		json_object_set_new(request, "regions", regions);
	rc = run_cancellable(&run, request, &signal, &error);
	return run_finish(&run, run_outcome(&run, rc, signal, &error));
}
