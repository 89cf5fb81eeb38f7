/* SPDX-License-Identifier: MIT */
/* The threads of a process, or all processes, one after the other. */
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include "proc/target.h"

/* Opens /proc/PID/task. The caller closes it (_cleanup_closedir_). NULL when the process is gone, or it cannot be
 * read (tasks_error). proc_pid_task(5). */
DIR *tasks_open(const struct target *target);

/* Why tasks_open has failed: -ESRCH, or another -errno, which says nothing of the process. */
int tasks_error(void);

/* Opens /proc, for all processes. As tasks_open; NULL with errno set. */
DIR *processes_open(void);

/* The id of the next one, or 0 at the end. Those that begin or end meanwhile may be missed or named. */
pid_t tasks_next(DIR *tasks);
