/* SPDX-License-Identifier: MIT */
/* swapctl attach and adopt: a session for a process, and one that has lost its processes. */
#include "swapctl.h"
#include "tool/notify.h"

static int attach_one(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct error error = {0};
	int rc = session_attach(&run->target, &values->session, values->session.foreground ? notify_record : run_record,
				run, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

int verb_attach(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	int status;

	if (kernel_chosen(&values->session))
		return cli_usage_error(run->name, "--store kernel: it makes no session; use swapctl out or auto");
	if (!values->session.foreground)
		return run_each(run, attach_one);
	status = run_begin(run);
	return status == EXIT_DONE ? attach_one(run) : status;
}

static int adopt_one(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	bool stays = values->session.foreground;
	struct error error = {0};
	int rc = session_adopt(&run->target, stays, stays ? notify_record : run_record, run, &error);
	return rc < 0 ? run_failed(run, rc, &error) : EXIT_DONE;
}

static bool is_orphaned(const struct target *target)
{
	return session_is_known(target) && !session_exists(target);
}

int verb_adopt(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	int status;

	if (!values->session.foreground)
		return run_each_fitting(run, adopt_one, is_orphaned, "none of them has a session to take up");
	status = run_begin(run);
	return status == EXIT_DONE ? adopt_one(run) : status;
}
