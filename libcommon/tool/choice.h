/* SPDX-License-Identifier: MIT */
/* Which processes a verb works on: from what its command line and its records say to numbers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/cli.h"
#include "proc/target.h"
#include "report/error.h"
#include "report/input.h"

/* A process that was chosen. It is opened when its turn comes, for there may be more of them than descriptors. */
struct process_choice {
	pid_t pid;
	uint64_t starttime; /* 0: whichever process has the pid now */
	int pidfd;          /* borrowed; -1: none */
	bool named;         /* by its number, a descriptor or a record: that it is gone is an error */
};

struct choices {
	struct process_choice *items;
	size_t count, capacity;
};

/*
 * The processes that match one of each kind of option that was given: those that are named, in their order, else those
 * that the records of `input` are of, else those of the cgroups and units, else all; none without any. A glob, a
 * cgroup, a unit and --all take neither this process nor a kernel thread, a puppet, or a tool of this project at its
 * work. Appends to `choices`, which the caller frees. Returns 0, or -errno with `error` filled: -EINVAL for a path that
 * is no cgroup, -ENOMSG for a unit that does not run.
 */
int choice_find(struct choices *choices, const struct cli_processes *options, const struct region_input *input,
		struct error *error);

/* Whether a glob matches the name of its command: as the kernel has it, or in full where it has cut it
 * (proc_pid_comm(5)). */
bool choice_name_matches(const char *glob, pid_t pid);

/* Opens one. Returns as target_open; -ESTALE when another process has its number now. */
int choice_open(const struct process_choice *choice, struct target *target, struct error *error);

/* Closes what they hold open. */
void choice_free(struct choices *choices);

#define _cleanup_choices_ __attribute__((cleanup(choice_free)))
