/* SPDX-License-Identifier: MIT */
/* What the kernel's settings and this process's own rights say of userfaultfd. */
#include "uffd/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define SYSCTL "/proc/sys/vm/unprivileged_userfaultfd"

/* A number of this process's status; 0 where it cannot be had. */
static uint64_t own_status(const char *field, int base)
{
	_cleanup_close_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	uint64_t number;

	return fd >= 0 && fd_find_number(fd, field, base, &number) == 0 ? number : 0;
}

int uffd_sysctl(void)
{
	uint64_t value;
	int rc = fd_read_number_at(AT_FDCWD, SYSCTL, 10, &value);

	return rc == 0 ? (int)value : rc == -ENOENT ? 1 : -EIO;
}

bool uffd_capable(unsigned int capability)
{
	return own_status("CapEff", 16) >> capability & 1;
}

bool uffd_in_user_namespace(void)
{
	_cleanup_fclose_ FILE *map = fopen("/proc/self/uid_map", "re");
	uint32_t inside, outside, count;

	if (!map || fscanf(map, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside, &outside, &count) != 3)
		return false;
	return inside || outside || count != UINT32_MAX;
}

bool uffd_under_seccomp(void)
{
	return own_status("Seccomp", 10) != 0;
}
