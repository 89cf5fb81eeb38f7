/* SPDX-License-Identifier: MIT */
/* swapctl status: one session, or all of them. */
#include "swapctl.h"

int verb_status(int argc, const char **argv)
{
	static const struct request_verb verb = {
		.name = "swapctl status",
		.usage = "[-p PID] [OPTION...]",
		.about = "Tells what is out, and what a session has done; of all sessions without -p.",
		.verb = REQUEST_STATUS,
		.columns = session_columns,
		.type = "session",
		.of_all = true,
	};

	return run_request(&verb, argc, argv);
}
