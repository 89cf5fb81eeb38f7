/* SPDX-License-Identifier: MIT */
/* What the files of addrspace cache share. */
#pragma once

#include <signal.h>

#include "addrspace.h"

/* A command that is stopped before its first instruction, later one that runs. */
struct cache_command {
	char **words; /* NULL: there is none */
	pid_t pid;
	bool ended;
	int status; /* exit status of this tool, once it has ended */
};

/*
 * Starts a command and stops it before the first instruction of its program, with the place of the object in its
 * environment. `output` becomes its standard output. Returns 0, or -errno with `error` filled; 1 when it could not be
 * run, which it has said itself: its status is set.
 */
int command_begin(struct cache_command *command, const char *name, struct region region, const sigset_t *mask,
		  int output, struct error *error);

/* Lets it run. */
void command_go(const struct cache_command *command);

/* Looks whether it has ended. */
void command_inspect(struct cache_command *command);

/* Ends one that has not run yet. */
void command_kill(struct cache_command *command);
