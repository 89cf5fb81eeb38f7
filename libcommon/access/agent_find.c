/* SPDX-License-Identifier: MIT */
/* A program's agent, by its thread's name and the socket in that thread's own table of descriptors. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "access/agent.h"
#include "base/cleanup.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define SOCKETS_MAX 8

static bool named_so(pid_t pid, pid_t tid)
{
	char name[32];

	return proc_thread_read(pid, tid, "comm", name, sizeof(name)) > 0 && strcmp(name, AGENT_NAME "\n") == 0;
}

/* Inode numbers of the sockets of a thread. Returns how many, or -errno. */
static int list_sockets(pid_t pid, pid_t tid, uint64_t inodes[SOCKETS_MAX])
{
	char path[64];
	_cleanup_closedir_ DIR *dir = NULL;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", pid, tid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	for (struct dirent *entry; count < SOCKETS_MAX && (entry = readdir(dir));) {
		char link[64] = "";

		if (readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1) > 0 &&
		    sscanf(link, "socket:[%" SCNu64 "]", &inodes[count]) == 1)
			count++;
	}
	return count;
}

/* The name of one of these sockets, from the table of the thread's network namespace. */
static int name_socket(pid_t pid, pid_t tid, const char *kind, const uint64_t *inodes, int count, char name[64])
{
	size_t length = strlen(kind);
	char path[64];
	char line[256];
	_cleanup_fclose_ FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/net/unix", pid, tid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		uint64_t inode = 0;

		/* Num RefCount Protocol Flags Type St Inode Path; "@" is the zero of an abstract name. */
		if (sscanf(line, "%*s %*s %*s %*s %*s %*s %" SCNu64 " @%63s", &inode, name) != 2 ||
		    strncmp(name, kind, length) != 0 || name[length] != '.')
			continue;
		for (int i = 0; i < count; i++)
			if (inodes[i] == inode)
				return 0;
	}
	return -ENOENT;
}

int agent_find(const struct target *target, const char *kind, pid_t *tid, char name[64])
{
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	int rc = -ENOENT;

	if (!tasks)
		return -ESRCH;
	while ((*tid = tasks_next(tasks)) > 0) {
		uint64_t inodes[SOCKETS_MAX] = {0};
		int count;

		if (!named_so(target->pid, *tid))
			continue;
		count = list_sockets(target->pid, *tid, inodes);
		rc = count < 0 ? count : name_socket(target->pid, *tid, kind, inodes, count, name);
		if (rc == 0)
			return 0;
	}
	return rc;
}
