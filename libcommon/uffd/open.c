/* SPDX-License-Identifier: MIT */
/* Opening a userfaultfd by each route. */
#include "uffd/open.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "uffd/uapi.h"

static int open_by_device(int flags)
{
	_cleanup_close_ int device = open(UFFD_DEVICE, O_RDWR | O_CLOEXEC);
	int fd;

	if (device < 0)
		return -errno;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
	return fd < 0 ? -errno : fd;
}

int uffd_open(enum uffd_route route)
{
	int flags = O_CLOEXEC | O_NONBLOCK;
	long fd;

	if (route == UFFD_ROUTE_DEVICE)
		return open_by_device(flags);
	if (route == UFFD_ROUTE_USER_MODE_ONLY)
		flags |= UFFD_USER_MODE_ONLY;
	fd = syscall(SYS_userfaultfd, flags);
	return fd < 0 ? -errno : (int)fd;
}
