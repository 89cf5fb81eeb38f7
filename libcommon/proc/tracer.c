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
	char path[64];
	char line[128];
	_cleanup_fclose_ FILE *file = NULL;
	int tracer = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", target->pid, tid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	return tracer;
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

/* The folder of an executable goes to `path`. Returns its name, or NULL with errno set. */
static const char *executable(const char *process, char path[PATH_MAX])
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
	char comm[64];
	const char *name;

	snprintf(process, sizeof(process), "/proc/%d/exe", tracer);
	name = executable(process, theirs);
	if (name)
		return executable("/proc/self/exe", own) && strcmp(own, theirs) == 0 && is_tool(name);
	if (kill(tracer, 0) < 0 && errno == ESRCH)
		return true;
	return proc_file_read(tracer, "comm", comm, sizeof(comm)) > 0 && is_tool(comm);
}
