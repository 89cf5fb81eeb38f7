/* SPDX-License-Identifier: MIT */
/* Puppets that a session left behind when all its processes were killed, or while it made them. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/pidfd.h"
#include "proc/sharers.h"
#include "proc/stat.h"
#include "puppet/puppet.h"

#define LOOKS    5 /* at one that waits for nobody's end yet */
#define LOOKS_US 20000

/* For whose end a puppet waits: the process of its pidfd, -1 for one that has ended or is not seen here; 0: nobody's.
 */
static pid_t waits_for(pid_t puppet)
{
	char path[64];
	_cleanup_closedir_ DIR *all = NULL;
	uint64_t number = 0;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", puppet);
	all = opendir(path);
	for (struct dirent *entry; all && (entry = readdir(all));) {
		_cleanup_close_ int info = openat(dirfd(all), entry->d_name, O_RDONLY | O_CLOEXEC);

		if (info >= 0 && fd_find_number(info, "Pid", 10, &number) == 0)
			return number ? (pid_t)number : -1;
	}
	return 0;
}

/* One that waits for nobody's end is being made, and is traced meanwhile but for a moment, or never will be. */
static bool is_unfinished(pid_t puppet)
{
	uint64_t tracer = 0;

	for (int looks = 0; looks < LOOKS; looks++) {
		if (proc_status_read(puppet, "TracerPid", 10, &tracer) < 0 || tracer || waits_for(puppet))
			return false;
		usleep(LOOKS_US);
	}
	return true;
}

/* Another session, of a program that shares this one's memory, has a puppet there, too. */
static bool is_stray(const struct target *puppet, const struct target *program)
{
	pid_t waited;

	if (strcmp(puppet->name, TARGET_PUPPET) != 0)
		return false;
	waited = waits_for(puppet->pid);
	return waited ? waited == program->pid : is_unfinished(puppet->pid);
}

void puppet_kill_strays(const struct puppet *puppet, const struct target *program)
{
	struct sharers sharers = {0};

	if (strcmp(puppet->name, TARGET_PUPPET) != 0)
		return;
	sharers_inspect(&sharers, program);
	for (size_t i = 0; i < sharers.count; i++) {
		struct target stray = TARGET_NONE;
		struct error ignored = {0};

		if (sharers.pids[i] == puppet->self.pid)
			continue;
		if (target_open(&stray, sharers.pids[i], -1, &ignored) == 0 && is_stray(&stray, program))
			pidfd_signal(stray.pidfd, SIGKILL);
		target_close(&stray);
	}
	sharers_free(&sharers);
}
