/* SPDX-License-Identifier: MIT */
/* cgroups: which processes are in one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "cgroup/hierarchy.h"

#define DEPTH_MAX 32

/* The kernel lists no processes of a threaded one: their memory counts where the threads' common domain is. */
static bool is_threaded(int directory)
{
	char text[32];

	return fd_read_text_at(directory, "cgroup.type", text, sizeof(text)) > 0 && strcmp(text, "threaded\n") == 0;
}

static int open_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int failed = errno;
	char rooted[PATH_MAX];

	snprintf(rooted, sizeof(rooted), "%s%s", *path == '/' ? "" : "/", path);
	for (size_t i = 0; fd < 0 && i < CGROUP_HIERARCHIES; i++)
		fd = cgroup_below(cgroup_hierarchies[i], rooted);
	errno = failed;
	return fd;
}

int cgroup_open(const char *path, struct error *error)
{
	_cleanup_close_ int fd = open_directory(path);
	struct statfs fs;

	if (fd < 0 && errno != ENOTDIR && errno != ENOENT)
		return error_set(error, -errno, NULL, NULL, "look after the cgroup %s", path);
	if (fd < 0)
		return error_set(error, -EINVAL, "there is no such directory",
				 "name one below the mount point of cgroup2, see mount", "look after the cgroup %s",
				 path);
	if (fstatfs(fd, &fs) < 0 || (fs.f_type != CGROUP2_SUPER_MAGIC && fs.f_type != CGROUP_SUPER_MAGIC))
		return error_set(error, -EINVAL, "it is no cgroup",
				 "name a directory below a mount point of cgroup2 or cgroup, see mount",
				 "look after the cgroup %s", path);
	if (is_threaded(fd))
		return error_set(error, -EINVAL, "it is threaded, and a thread has no memory of its own",
				 "name the first one above it whose cgroup.type is \"domain threaded\"",
				 "look after the cgroup %s", path);
	return steal_fd(&fd);
}

/* A threaded cgroup has no processes of its own to tell of: those above it have them. */
static int pids_of(int directory, cgroup_pid_fn callback, void *context)
{
	_cleanup_fclose_ FILE *file = fd_stream(openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC));
	int pid;

	if (!file)
		return -ENODEV;
	while (fscanf(file, "%d", &pid) == 1)
		if (pid > 0)
			callback(context, pid);
	return ferror(file) ? -errno : 0;
}

static int pids_below(int directory, cgroup_pid_fn callback, void *context, unsigned int depth)
{
	_cleanup_closedir_ DIR *dir = fd_directory(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int rc = dir ? pids_of(directory, callback, context) : -ENODEV;

	for (struct dirent *entry; rc == 0 && depth < DEPTH_MAX && (entry = readdir(dir));) {
		_cleanup_close_ int below = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		below = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (below >= 0)
			pids_below(below, callback, context, depth + 1); /* gone by now is no matter */
	}
	return rc;
}

int cgroup_pids(int cgroup, cgroup_pid_fn callback, void *context)
{
	return pids_below(cgroup, callback, context, 0);
}
