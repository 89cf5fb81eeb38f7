/* SPDX-License-Identifier: MIT */
/* swapctl run: a command with a swap agent preloaded, and a session for it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access/agent.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "swapctl.h"
#include "tool/command.h"

#define LIBRARY     "libuvm.so.0"
#define SOON_MS     20   /* between looks for the agent of a command that has just been started */
#define LATER_MS    1000 /* for that of another program that it has become */
#define PATIENCE_US 10000000

/* A command on its way from its start to its exit status. */
struct command {
	struct run *run;
	const struct session_options *session;
	char **words;
	pid_t pid;
	uint64_t since_us;
	bool told;      /* that there is no session */
	char agent[64]; /* name of the one that has a session */
};

static void exec_words(const struct command *command, const sigset_t *mask)
{
	if (command_preload(LIBRARY) < 0)
		_exit(EXIT_FAILED);
	setenv("UVM_SWAP_AGENT", "1", 1);
	sigprocmask(SIG_SETMASK, mask, NULL);
	_exit(command_exec(command->run->name, command->words));
}

/* The command runs on whatever becomes of the session. */
static void complain_once(struct command *command, const struct error *error)
{
	if (!command->told)
		error_print(command->run->name, error);
	command->told = true;
}

/* A command that becomes another program gets another agent, and another session. */
static void find_agent(struct command *command)
{
	struct target *target = &command->run->target;
	struct error error = {0};
	char name[64];
	pid_t tid;
	int rc;

	if (target->pidfd < 0 && target_open(target, command->pid, -1, &error) < 0)
		return;
	rc = agent_find(target, AGENT_NAME, &tid, name);
	if (rc == 0 && strcmp(name, command->agent) != 0) {
		rc = session_attach(target, command->session, session_ignore, NULL, &error);
		if (rc == -EEXIST || rc == -ESRCH)
			return; /* that of the program before is about to end; or this one has ended */
		snprintf(command->agent, sizeof(command->agent), "%s", name);
		if (rc < 0)
			complain_once(command, &error);
		return;
	}
	if (!*command->agent && now_us() - command->since_us > PATIENCE_US) {
		error_set(&error, -ENOENT, "no swap agent was started in it",
			  "programs that are linked statically or change their user cannot be preloaded",
			  "make a session for %s", command->words[0]);
		complain_once(command, &error);
	}
}

/* Signals that are sent to this process are meant for the command; those of the terminal it gets itself. */
static int wait_for_end(struct command *command, const sigset_t *signals)
{
	for (;;) {
		int ms = *command->agent || command->told ? LATER_MS : SOON_MS;
		struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
		siginfo_t info;
		int signal = sigtimedwait(signals, &info, &limit);
		int status;
		pid_t ended;

		if (signal > 0 && signal != SIGCHLD && info.si_code <= 0)
			kill(command->pid, signal);
		while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
			if (ended == command->pid)
				return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNALLED + WTERMSIG(status);
		if (signal < 0)
			find_agent(command);
	}
}

static int run_command(struct command *command)
{
	static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGCHLD};
	struct error error = {0};
	sigset_t signals;
	sigset_t before;

	sigemptyset(&signals);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(&signals, passed_on[i]);
	sigprocmask(SIG_BLOCK, &signals, &before);
	command->since_us = now_us();
	command->pid = fork();
	if (command->pid == 0)
		exec_words(command, &before);
	if (command->pid < 0) {
		error_set(&error, -errno, NULL, NULL, "start %s", command->words[0]);
		return run_failed(command->run, error.code, &error);
	}
	return wait_for_end(command, &signals);
}

int verb_run(struct run *run)
{
	const struct swapctl_values *values = run_values(run);
	struct command command = {.run = run, .session = &values->session, .words = run->command};

	if (!run->command)
		return cli_usage_error(run->name, "which command? Give it after --");
	if (kernel_chosen(&values->session))
		return cli_usage_error(run->name, "--store kernel: it makes no session; use swapctl out or auto");
	return run_command(&command);
}
