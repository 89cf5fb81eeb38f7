/* SPDX-License-Identifier: MIT */
/* The threads of a process, and processes. */
#include "proc/tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

DIR *tasks_open(const struct target *target)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", target->pid);
	return opendir(path);
}

int tasks_error(void)
{
	return errno == ENOENT ? -ESRCH : -errno;
}

DIR *processes_open(void)
{
	return opendir("/proc");
}

pid_t tasks_next(DIR *tasks)
{
	for (struct dirent *entry; (entry = readdir(tasks));) {
		pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);

		if (id > 0)
			return id;
	}
	return 0;
}
