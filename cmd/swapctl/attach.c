/* SPDX-License-Identifier: MIT */
/* swapctl attach: a session for a process. */
#include "swapctl.h"
#include "tool/notify.h"

int verb_attach(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct error error = {0};
	int status = run_begin(run);
	int rc;

	if (status != EXIT_DONE)
		return status;
	rc = session_attach(&run->target, &values->session, values->session.foreground ? notify_record : run_record,
			    run, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}
