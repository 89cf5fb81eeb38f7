/* SPDX-License-Identifier: MIT */
/* Requests to a session: those of verbs without options of their own, and those that a signal cuts short. */
#include <errno.h>
#include <signal.h>

#include "base/cleanup.h"
#include "swapctl.h"

static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t connection = -1;

static void cancel_request(int number)
{
	interrupted = number;
	if (connection >= 0)
		session_cancel(connection);
}

/* The second one ends this program at once. */
void run_catch_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	const struct sigaction action = {.sa_handler = cancel_request, .sa_flags = SA_RESTART | SA_RESETHAND};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaction(numbers[i], &action, NULL);
}

int run_signal(void)
{
	return interrupted;
}

int run_cancellable(struct run *run, const struct session_request *request, int *signal, struct error *error)
{
	int rc = interrupted ? error_set(error, -ECANCELED, "it was told to stop", NULL, "begin with process %d",
					 run->target.pid)
			     : session_connect(&run->target, error);
	_cleanup_close_ int fd = rc;

	*signal = 0;
	if (rc >= 0) {
		rc = dup(fd);
		if (rc < 0)
			rc = error_set(error, -errno, NULL, NULL, "talk to the session");
	}
	if (rc >= 0) {
		connection = fd;
		run_catch_signals();
		rc = session_exchange(&run->target, rc, request, run_record, run, error);
		connection = -1;
	}
	if (rc == -ECANCELED)
		*signal = interrupted;
	return rc;
}

int run_outcome(const struct run *run, int rc, int signal, const struct error *error)
{
	if (signal)
		return EXIT_SIGNALLED + signal;
	if (rc < 0)
		return run_failed(run, rc, error);
	return rc > 0 ? EXIT_PARTIAL : EXIT_DONE;
}

static int request_one(struct run *run)
{
	struct error error = {0};
	struct session_request request = {0};
	int rc = request_kind_of(run->verb->name, &request.verb);

	if (rc == 0)
		rc = session_ask(&run->target, &request, run_record, run, &error);
	return run_outcome(run, rc, 0, &error);
}

int verb_request(struct run *run)
{
	return run_each_fitting(run, request_one, session_is_known, NO_SESSIONS);
}
