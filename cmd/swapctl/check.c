/* SPDX-License-Identifier: MIT */
/* swapctl check: whether a session's books are in order. */
#include "swapctl.h"

int verb_check(int argc, const char **argv)
{
	static const struct request_verb verb = {
		.name = "swapctl check",
		.usage = "-p PID [OPTION...]",
		.about = "Verifies a session: what is out against the store, every record of it, and the process.",
		.verb = REQUEST_CHECK,
		.columns = error_columns,
		.type = "error",
	};

	return run_request(&verb, argc, argv);
}
