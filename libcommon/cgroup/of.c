/* SPDX-License-Identifier: MIT */
/* cgroups: the directory of a process, and whether it is frozen there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "cgroup/hierarchy.h"
#include "proc/stat.h"

const char *const cgroup_hierarchies[] = {"memory", NULL, "name=systemd"};

/* Whether a list with commas between its words holds one. */
static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
		if (strncmp(list, word, length) == 0 && (list[length] == ',' || !list[length]))
			return true;
	return false;
}

/* A line of /proc/PID/cgroup, "ID:CONTROLLERS:PATH": its path when it is the hierarchy's, or NULL. */
static const char *path_in(char *line, const char *controller)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path)
		return NULL;
	*path++ = '\0';
	line[strcspn(line, ":")] = '\0';
	if (controller)
		return has_word(controllers + 1, controller) ? path : NULL;
	return strcmp(line, "0") == 0 && !controllers[1] ? path : NULL;
}

static int read_path(int fd, const char *controller, char path[PATH_MAX])
{
	_cleanup_fclose_ FILE *file = fd_stream(fd);
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	*path = '\0';
	if (!file)
		return -errno;
	while (getline(&line, &size, file) > 0) {
		const char *found;

		line[strcspn(line, "\n")] = '\0';
		found = path_in(line, controller);
		if (found)
			return (size_t)snprintf(path, PATH_MAX, "%s", found) < PATH_MAX ? 0 : -ENAMETOOLONG;
	}
	return -ENOENT;
}

int cgroup_path(pid_t pid, char path[PATH_MAX])
{
	int rc = read_path(proc_open(pid, "cgroup", O_RDONLY), "memory", path);

	return rc == -ENOENT ? read_path(proc_open(pid, "cgroup", O_RDONLY), NULL, path) : rc;
}

/*
 * A line of mountinfo: the directory under its mount point that a path of the hierarchy has, when it is of the
 * hierarchy and the path lies in what is mounted.
 */
static bool directory_within(const char *line, const char *controller, const char *path, char directory[PATH_MAX])
{
	_cleanup_free_ char *root = NULL;
	_cleanup_free_ char *point = NULL;
	_cleanup_free_ char *options = NULL;
	char type[16];
	const char *rest = strstr(line, " - ");
	size_t length;

	if (!rest || sscanf(line, "%*d %*d %*s %ms %ms", &root, &point) != 2 ||
	    sscanf(rest, " - %15s %*s %ms", type, &options) != 2)
		return false;
	if (strcmp(type, controller ? "cgroup" : "cgroup2") != 0 || (controller && !has_word(options, controller)))
		return false;
	if (!path)
		return (size_t)snprintf(directory, PATH_MAX, "%s", point) < PATH_MAX;
	length = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(path, root, length) != 0 || (path[length] && path[length] != '/'))
		return false;
	return (size_t)snprintf(directory, PATH_MAX, "%s%s", point, path + length) < PATH_MAX;
}

int cgroup_below(const char *controller, const char *path)
{
	_cleanup_fclose_ FILE *mounts = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	char directory[PATH_MAX];
	size_t size = 0;

	while (mounts && getline(&line, &size, mounts) > 0) {
		int fd;

		if (!directory_within(line, controller, path, directory))
			continue;
		fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -ENOENT;
}

int cgroup_of(const struct target *target, const char *controller)
{
	char path[PATH_MAX];
	int rc = read_path(target_proc_open(target, "cgroup", O_RDONLY), controller, path);

	if (rc == -ENOENT && !target_alive(target))
		return -ESRCH;
	return rc < 0 ? rc : cgroup_below(controller, path);
}

static bool file_has(int directory, const char *name, const char *word)
{
	char text[256];

	return directory >= 0 && fd_read_text_at(directory, name, text, sizeof(text)) > 0 && strstr(text, word);
}

bool cgroup_is_frozen(const struct target *target)
{
	_cleanup_close_ int directory = cgroup_of(target, NULL);
	_cleanup_close_ int older = cgroup_of(target, "freezer");

	return file_has(directory, "cgroup.events", "frozen 1") || file_has(older, "freezer.state", "FROZEN");
}
