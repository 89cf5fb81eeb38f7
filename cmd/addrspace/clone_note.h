/* SPDX-License-Identifier: MIT */
/* What is remembered of clones that outlive the tool: which processes are ours to end. */
#pragma once

#include <stdbool.h>

#include "proc/target.h"
#include "report/error.h"

/* One held clone. */
struct clone_note {
	pid_t pid; /* the clone */
	uint64_t starttime;
	pid_t original;
	uint64_t original_starttime;
	bool child;  /* the original has to reap it … */
	pid_t there; /* … under this pid */
};

/* Writes a note; those of clones that have ended are removed by the way. Returns 0 or -errno with `error` filled. */
int clone_note_write(const struct clone_note *note, struct error *error);

/* Reads the note on a clone. Returns 0, or -errno with `error` filled: -EPERM when that process is no clone. */
int clone_note_read(const struct target *clone, struct clone_note *note, struct error *error);

/* When the clone is gone. */
void clone_note_remove(pid_t pid, uint64_t starttime);
