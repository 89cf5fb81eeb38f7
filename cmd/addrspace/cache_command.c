/* SPDX-License-Identifier: MIT */
/* addrspace cache -- COMMAND: a process that has run nothing of its own yet. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size.h"
#include "cache.h"
#include "tool/command.h"

static void exec_cache_command(const struct cache_command *command, const char *name, struct region region,
			       const sigset_t *mask, int output)
{
	char address[ADDRESS_TEXT];
	char bytes[32];

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)region_bytes(region));
	setenv("UVM_CACHE_ADDRESS", address_format(address, region.start), 1);
	setenv("UVM_CACHE_BYTES", bytes, 1);
	dup2(output, STDOUT_FILENO);
	sigprocmask(SIG_SETMASK, mask, NULL);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	_exit(command_exec(name, command->words));
}

#define SIGNALLED(signal) (128 + (signal)) /* as the shells have it */

static void set_status(struct cache_command *command, int status)
{
	command->ended = true;
	command->status = WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALLED(WTERMSIG(status));
}

/*
 * The first stop of a traced child is the trap behind its exec (ptrace(2)), unless a signal came first. Returns 0, or 1
 * when it has ended.
 */
static int stop_at_exec(struct cache_command *command)
{
	int status = 0;

	while (waitpid(command->pid, &status, 0) == command->pid && WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP)
		ptrace(PTRACE_CONT, command->pid, NULL, WSTOPSIG(status));
	if (!WIFSTOPPED(status)) {
		set_status(command, status);
		return 1;
	}
	kill(command->pid, SIGSTOP);
	ptrace(PTRACE_DETACH, command->pid, NULL, NULL);
	waitpid(command->pid, &status, WUNTRACED);
	if (!WIFSTOPPED(status)) {
		set_status(command, status);
		return 1;
	}
	return 0;
}

int command_begin(struct cache_command *command, const char *name, struct region region, const sigset_t *mask,
		  int output, struct error *error)
{
	command->pid = fork();
	if (command->pid == 0)
		exec_cache_command(command, name, region, mask, output);
	if (command->pid < 0)
		return error_set(error, -errno, NULL, NULL, "start %s", command->words[0]);
	return stop_at_exec(command);
}

void command_go(const struct cache_command *command)
{
	if (command->pid > 0)
		kill(command->pid, SIGCONT);
}

void command_inspect(struct cache_command *command)
{
	int status;
	pid_t pid = command->pid > 0 && !command->ended ? waitpid(command->pid, &status, WNOHANG) : 0;

	if (pid == command->pid && pid > 0)
		set_status(command, status);
	else if (pid < 0) { /* not our child: this process has taken the place of another one */
		command->ended = true;
		command->status = EXIT_FAILED;
	}
}

void command_kill(struct cache_command *command)
{
	if (command->pid <= 0 || command->ended)
		return;
	kill(command->pid, SIGKILL);
	waitpid(command->pid, NULL, 0);
	command->ended = true;
}
