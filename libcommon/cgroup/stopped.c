/* SPDX-License-Identifier: MIT */
/* Whether a process is stopped. */
#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "cgroup/cgroup.h"
#include "proc/stat.h"
#include "proc/target.h"

/* Threads that have ended wait for nobody to let them run. */
static bool all_stopped(DIR *threads)
{
	bool any = false;

	for (struct dirent *entry; (entry = readdir(threads));) {
		struct proc_stat stat;

		if (!isdigit((unsigned char)*entry->d_name) ||
		    proc_stat_read((pid_t)strtol(entry->d_name, NULL, 10), &stat) < 0 || strchr("ZX", stat.state))
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
	int fd;
	_cleanup_closedir_ DIR *threads = NULL;

	if (proc_stat_read(target->pid, &leader) < 0)
		return false;
	/* What runs needs no look at all its threads. */
	if (strchr("TZ", leader.state)) {
		fd = target_proc_open(target, "task", O_RDONLY | O_DIRECTORY);
		threads = fd < 0 ? NULL : fdopendir(fd);
		if (threads && all_stopped(threads))
			return true;
	}
	return target_alive(target) && cgroup_is_frozen(target);
}
