/* SPDX-License-Identifier: MIT */
/* swapctl adopt: serves a process again whose session lost both of its own. */
#include "swapctl.h"
#include "tool/notify.h"

int verb_adopt(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	bool stays = values->session.foreground;
	struct error error = {0};
	int status = run_begin(run);
	int rc;

	if (status != EXIT_DONE)
		return status;
	rc = session_adopt(&run->target, stays, stays ? notify_record : run_record, run, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}
