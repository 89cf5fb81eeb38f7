/* SPDX-License-Identifier: MIT */
/* cgroups by the units of systemd that they are for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "cgroup/hierarchy.h"

#define DEPTH_MAX 16 /* of units below the mount point */

/* The directory of that name so many levels down. Returns a descriptor or -ENOENT. */
static int find_at_depth(int parent, const char *name, unsigned int depth)
{
	_cleanup_closedir_ DIR *dir = fd_directory(openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int found = -ENOENT;

	for (struct dirent *entry; dir && found < 0 && (entry = readdir(dir));) {
		_cleanup_close_ int below = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || (!depth && strcmp(entry->d_name, name) != 0))
			continue;
		below = openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (below >= 0)
			found = depth ? find_at_depth(below, name, depth - 1) : steal_fd(&below);
	}
	return found;
}

static int find_unit(const char *name)
{
	for (unsigned int depth = 0; depth < DEPTH_MAX; depth++)
		for (size_t i = 0; i < CGROUP_HIERARCHIES; i++) {
			_cleanup_close_ int top = cgroup_below(cgroup_hierarchies[i], NULL);
			int found = top < 0 ? -ENOENT : find_at_depth(top, name, depth);

			if (found >= 0)
				return found;
		}
	return -ENOENT;
}

int cgroup_unit(const char *name, struct error *error)
{
	char unit[256];
	int found;

	snprintf(unit, sizeof(unit), "%s%s", name, strchr(name, '.') ? "" : ".service");
	found = strchr(name, '/') ? -ENOENT : find_unit(unit);
	if (found < 0)
		return error_set(error, -ENOMSG, "no cgroup has its name", "is it active? see systemctl status",
				 "find the unit %s", unit);
	return found;
}
