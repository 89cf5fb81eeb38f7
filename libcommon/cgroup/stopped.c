/* SPDX-License-Identifier: MIT */
/* Whether a process is stopped. */
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "proc/stat.h"
#include "proc/target.h"
#include "proc/tasks.h"

/* Threads that have ended wait for nobody to let them run. */
static bool all_stopped(DIR *threads)
{
	bool any = false;

	for (pid_t tid; (tid = tasks_next(threads)) > 0;) {
		struct proc_stat stat;

		if (proc_stat_read(tid, &stat) < 0 || strchr("ZX", stat.state))
			continue;
		if (stat.state != 'T')
			return false;
		any = true;
	}
	return any;
}

bool target_is_stopped(const struct target *target)
{
	struct proc_stat leader;
	_cleanup_closedir_ DIR *threads = NULL;

	if (proc_stat_read(target->pid, &leader) < 0)
		return false;
	/* What runs needs no scan of all its threads. */
	if (strchr("TZ", leader.state)) {
		threads = fd_directory(target_proc_open(target, "task", O_RDONLY | O_DIRECTORY));
		if (threads && all_stopped(threads))
			return true;
	}
	return target_alive(target) && cgroup_is_frozen(target);
}
