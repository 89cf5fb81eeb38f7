/* SPDX-License-Identifier: MIT */
/* Who traces a thread, and whether that is a tool of this project. */
#include "proc/tracer.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/stat.h"

pid_t tracer_of(const struct target *target, pid_t tid)
{
	char text[4096]; /* the field is one of the first */

	if (proc_thread_read(target->pid, tid, "status", text, sizeof(text)) < 0)
		return 0;
	return (pid_t)proc_status_number(text, "TracerPid", 10, 0);
}

static bool is_tool(const char *name)
{
	static const char *const tools[] = {"swapctl",    "uffd-move",  "addrspace",
					    "reclaimctl", "superpages", "uffd-probe"};

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (strncmp(name, tools[i], strlen(tools[i])) == 0)
			return true;
	return false;
}

/* The directory of an executable goes to `path`. Returns its name, or NULL with errno set. */
static const char *executable_name(const char *process, char path[PATH_MAX])
{
	ssize_t length = readlink(process, path, PATH_MAX - 1);
	char *slash;

	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	return slash + 1;
}

bool tracer_is_ours(pid_t tracer)
{
	char process[64];
	char own[PATH_MAX];
	char theirs[PATH_MAX];
	char comm[PROC_NAME];
	const char *name;

	snprintf(process, sizeof(process), "/proc/%d/exe", tracer);
	name = executable_name(process, theirs);
	if (name)
		return executable_name("/proc/self/exe", own) && strcmp(own, theirs) == 0 && is_tool(name);
	if (kill(tracer, 0) < 0 && errno == ESRCH)
		return true;
	return proc_name_read(tracer, comm) > 0 && is_tool(comm);
}

bool tracer_has_our_name(pid_t pid)
{
	char process[64];
	char directory[PATH_MAX];
	char comm[PROC_NAME];
	const char *name;

	snprintf(process, sizeof(process), "/proc/%d/exe", pid);
	name = executable_name(process, directory);
	return name ? is_tool(name) : proc_name_read(pid, comm) > 0 && is_tool(comm);
}
