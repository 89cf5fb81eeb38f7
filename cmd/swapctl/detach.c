/* SPDX-License-Identifier: MIT */
/* swapctl detach: everything back, nothing of ours left. */
#include "swapctl.h"

int verb_detach(int argc, const char **argv)
{
	static const struct request_verb verb = {
		.name = "swapctl detach",
		.usage = "-p PID [OPTION...]",
		.about = "Brings everything back, removes the session, and leaves the process as it was.",
		.verb = REQUEST_DETACH,
		.columns = region_columns,
		.type = "region",
	};

	return run_request(&verb, argc, argv);
}
