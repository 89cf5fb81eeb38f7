/* SPDX-License-Identifier: MIT */
/* swapctl in: memory back without waiting for faults, and kept there for a command. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "swapctl.h"
#include "tool/command.h"

#define TRIES    10
#define AGAIN_MS 100 /* until a session whose worker has died is asked again */

static volatile sig_atomic_t command_pid;

/* What is meant for the command. Signals of the terminal it gets itself. */
static void pass_on(int number)
{
	if (command_pid > 0)
		kill((pid_t)command_pid, number);
}

static void set_signals(void)
{
	const struct sigaction passed = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	sigaction(SIGTERM, &passed, NULL);
	sigaction(SIGHUP, &passed, NULL);
}

/* Returns as session_hold; 0 when there is nothing to hold. */
static int hold_session(const struct run *run, struct error *error)
{
	int fd = session_hold(&run->target, error);

	/* Its worker has died: there is another one soon. */
	for (int tries = 0; fd == -ECONNRESET && tries < TRIES && target_alive(&run->target); tries++)
		fd = session_hold(&run->target, error);
	return fd == -ENOENT || fd == -ENOMSG ? 0 : fd;
}

/* Until the command has ended. Another worker is asked to keep everything in core, too. */
static int wait_for_command(const struct run *run, pid_t pid, int held)
{
	_cleanup_close_ int pidfd = pidfd_of(pid);
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = held ? held : -1, .events = POLLIN}};
		struct error ignored = {0};

		poll(fds, ARRAY_SIZE(fds), held < 0 ? AGAIN_MS : -1);
		if (held > 0 && fds[1].revents)
			close(held);
		if (held < 0 || (held > 0 && fds[1].revents))
			held = target_alive(&run->target) ? hold_session(run, &ignored) : 0;
	}
	if (held > 0)
		session_release(held);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNALLED + WTERMSIG(status);
}

/* The command reads and writes what this program would; it prints no records. */
static int run_for(struct run *run, char **words)
{
	struct error error = {0};
	int held = hold_session(run, &error);
	pid_t pid;

	if (held < 0)
		return run_failed(run, held, &error);
	pid = fork();
	if (pid == 0)
		_exit(command_exec(run->name, words));
	if (pid < 0) {
		error_set(&error, -errno, NULL, NULL, "start %s", words[0]);
		return run_failed(run, error.code, &error);
	}
	command_pid = pid;
	set_signals();
	return wait_for_command(run, pid, held);
}

static int bring_in(struct run *run)
{
	struct session_request request = {.verb = REQUEST_IN};
	struct region_vec *regions;
	struct error error = {0};
	int signal;
	int status = run_regions(run, &regions);
	int rc;

	if (status != EXIT_DONE)
		return status;
	request.regions = run->options.regions ? regions : NULL;
	if (((const struct swapctl_values *)run_values(run))->session.store)
		return kernel_in(run, &request);
	rc = run_cancellable(run, &request, &signal, &error);
	return run_outcome(run, rc, signal, &error);
}

int verb_in(struct run *run)
{
	const struct session_options *session = &((const struct swapctl_values *)run_values(run))->session;
	int status;

	if (run->command && !*run->command)
		return cli_usage_error(run->name, "--for: which command?");
	if (run->command && run->options.regions)
		return cli_usage_error(run->name, "--for: not with -r");
	if (session->store && (run->command || !kernel_chosen(session)))
		return cli_usage_error(run->name, "--store: only kernel, and not with --for");
	if (session->store)
		return run_each(run, bring_in);
	if (!run->command)
		return run_each_fitting(run, bring_in, session_is_known, NO_SESSIONS);
	status = run_begin(run);
	return status == EXIT_DONE ? run_for(run, run->command) : status;
}
