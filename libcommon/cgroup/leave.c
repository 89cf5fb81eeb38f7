/* SPDX-License-Identifier: MIT */
/* cgroups: out of those that limit memory. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cgroup/cgroup.h"

#define DEPTH_MAX 64

/* What the nearest limit leaves, of this process's cgroup and of all above it. */
static int read_left(const struct target *self, int *directory, uint64_t *left)
{
	struct cgroup_memory nearest;
	int rc;

	*directory = cgroup_of_memory(self);
	if (*directory < 0)
		return *directory;
	rc = cgroup_memory(*directory, &nearest);
	if (rc == 0)
		*left = cgroup_memory_left(&nearest);
	return rc;
}

/* Every directory of a hierarchy has cgroup.procs; the one that it is mounted in does not. */
static int open_top(int directory)
{
	_cleanup_close_ int at = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned int i = 0; i < DEPTH_MAX && at >= 0; i++) {
		int above = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (above < 0 || faccessat(above, "cgroup.procs", F_OK, 0) < 0) {
			cleanup_close(&above);
			break;
		}
		close(at);
		at = above;
	}
	return steal_fd(&at);
}

/* "0" is the process that writes it (cgroups(7)). */
static bool enter_cgroup(int directory)
{
	_cleanup_close_ int procs = openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	return procs >= 0 && write(procs, "0", 1) == 1;
}

int cgroup_left_here(uint64_t *left)
{
	_cleanup_target_ struct target self = TARGET_NONE;
	_cleanup_close_ int directory = -1;
	struct error error = {0};
	int rc = target_open(&self, getpid(), -1, &error);

	return rc < 0 ? rc : read_left(&self, &directory, left);
}

int cgroup_leave_limits(uint64_t *left)
{
	_cleanup_target_ struct target self = TARGET_NONE;
	_cleanup_close_ int directory = -1;
	_cleanup_close_ int top = -1;
	struct error error = {0};
	int rc = target_open(&self, getpid(), -1, &error);

	if (rc == 0)
		rc = read_left(&self, &directory, left);
	if (rc < 0 || *left == UINT64_MAX)
		return rc;
	top = open_top(directory);
	return top >= 0 && enter_cgroup(top) ? cgroup_left_here(left) : 0;
}
