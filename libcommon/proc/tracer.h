/* SPDX-License-Identifier: MIT */
/* Who traces a thread, and whether that is a tool of this project. */
#pragma once

#include <stdbool.h>

#include "proc/target.h"

/*
 * The thread that traces a thread of a target. Returns its id, or 0: none, none that this pid namespace knows, or the
 * thread has ended. Source: proc_pid_status(5), TracerPid; fs/proc/array.c, task_state.
 */
pid_t tracer_of(const struct target *target, pid_t tid);

/*
 * Whether a process or thread is one of this project's tools, of the directory that this one is from, or has ended
 * since it was seen. Those let go of a thread after a moment. One that was killed and traces until its last thread has
 * ended has no executable any more: its name counts.
 */
bool tracer_is_ours(pid_t tracer);

/* Whether a process has the name of one of those tools, of whatever directory: sessions of another installation, too.
 */
bool tracer_has_our_name(pid_t pid);
