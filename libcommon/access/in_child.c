/* SPDX-License-Identifier: MIT */
/* Mapping and unmapping the control area from a process that nobody kills by mistake. */
#include "access/in_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

struct outcome {
	int rc;
	struct region area;
	bool frozen;
	struct error error;
};

/* Not in our process group, and deaf to what a terminal or a service manager sends first. */
static void step_aside(void)
{
	sigset_t all;

	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static int wait_for_end(pid_t child)
{
	int status = -1;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void open_there(int to, const struct target *target, inject_mapped_fn mapped, void *context)
{
	struct outcome outcome = {.rc = 0};
	struct inject inject;

	step_aside();
	outcome.rc = inject_open(&inject, target, &outcome.error);
	outcome.area = inject.area;
	outcome.frozen = inject.frozen;
	if (outcome.rc == 0)
		mapped(context, inject.area);
	_exit(write(to, &outcome, sizeof(outcome)) != sizeof(outcome));
}

int inject_open_in_child(struct inject *inject, const struct target *target, inject_mapped_fn mapped, void *context,
			 struct error *error)
{
	struct outcome outcome = {.rc = -EIO};
	int ends[2];
	ssize_t got;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(error, -errno, NULL, NULL, "prepare injection into process %d", target->pid);
	child = fork();
	if (child == 0)
		open_there(ends[1], target, mapped, context);
	close(ends[1]);
	do
		got = child < 0 ? -1 : read(ends[0], &outcome, sizeof(outcome));
	while (got < 0 && child > 0 && errno == EINTR);
	close(ends[0]);
	if (child < 0)
		return error_set(error, -errno, NULL, NULL, "prepare injection into process %d", target->pid);
	wait_for_end(child);
	if (got != sizeof(outcome))
		return error_set(error, -EIO, "a process that helps was killed", "try again",
				 "prepare injection into process %d", target->pid);
	if (outcome.rc < 0) {
		*error = outcome.error;
		return outcome.rc;
	}
	outcome.rc = inject_rejoin(inject, target, outcome.area, error);
	inject->frozen = outcome.frozen;
	return outcome.rc;
}

int inject_close_in_child(struct inject *inject)
{
	pid_t child;
	int status;

	while (inject_reap(inject) > 0)
		usleep(1000);
	child = fork();
	if (child == 0) {
		step_aside();
		inject_reset(inject);
		_exit(-inject_close(inject));
	}
	if (child < 0)
		return inject_close(inject);
	status = wait_for_end(child);
	inject_abandon(inject);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}
