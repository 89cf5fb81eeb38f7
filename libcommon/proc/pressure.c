/* SPDX-License-Identifier: MIT */
/* The kernel's account of waiting for memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "proc/pressure.h"

int pressure_open(int cgroup, const char *trigger, struct error *error)
{
	const char *path = cgroup >= 0 ? "memory.pressure" : "/proc/pressure/memory";
	_cleanup_close_ int fd =
		openat(cgroup >= 0 ? cgroup : AT_FDCWD, path, (*trigger ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && cgroup >= 0 && access("/proc/pressure/memory", F_OK) == 0)
		return error_set(error, -EOPNOTSUPP, "only cgroups of version 2 account for pressure, and not the root",
				 "name one of version 2", "open %s of the cgroup", path);
	if (fd < 0)
		return error_set(error, errno == ENOENT ? -EOPNOTSUPP : -errno,
				 errno == ENOENT ? "this kernel does not account for pressure" : NULL,
				 "boot with psi=1", "open %s", path);
	if (*trigger && write(fd, trigger, strlen(trigger) + 1) < 0)
		return error_set(error, -errno, NULL,
				 errno == EINVAL ? "without CAP_SYS_RESOURCE the window is a multiple of 2s" : NULL,
				 "set the trigger \"%s\" in %s", trigger, path);
	return steal_fd(&fd);
}

uint64_t pressure_read(int pressure)
{
	char text[256] = "";
	const char *total;

	fd_read_up_to(pressure, text, sizeof(text) - 1, 0);
	total = strstr(text, "total=");
	return total ? strtoull(total + strlen("total="), NULL, 10) : 0;
}

int pressure_trigger_parse(const char *text, char trigger[PRESSURE_TRIGGER])
{
	const char *slash = strchr(text, '/');
	uint64_t stall;
	uint64_t window;
	char first[16];

	if (!slash || (strncmp(text, "some:", 5) != 0 && strncmp(text, "full:", 5) != 0) ||
	    (size_t)snprintf(first, sizeof(first), "%.*s", (int)(slash - text - 5), text + 5) >= sizeof(first))
		return -EINVAL;
	if (duration_parse(first, NULL, &stall) < 0 || duration_parse(slash + 1, NULL, &window) < 0)
		return -EINVAL;
	/* The bounds are the kernel's (Documentation/accounting/psi.rst). */
	if (!stall || stall > window || window < 500000 || window > 10000000)
		return -EINVAL;
	snprintf(trigger, PRESSURE_TRIGGER, "%.4s %" PRIu64 " %" PRIu64, text, stall, window);
	return 0;
}
