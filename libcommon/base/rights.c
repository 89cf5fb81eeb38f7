/* SPDX-License-Identifier: MIT */
/* What this process may do. */
#include "base/rights.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* A number of this process's status; 0 where it cannot be had. */
static uint64_t own_status(const char *field, int base)
{
	_cleanup_close_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	uint64_t number;

	return fd >= 0 && fd_find_number(fd, field, base, &number) == 0 ? number : 0;
}

uint64_t rights_capabilities(void)
{
	return own_status("CapEff", 16);
}

bool rights_capable(unsigned int capability)
{
	return rights_capabilities() >> capability & 1;
}

bool rights_in_user_namespace(void)
{
	_cleanup_fclose_ FILE *map = fopen("/proc/self/uid_map", "re");
	uint32_t inside, outside, count;

	if (!map || fscanf(map, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside, &outside, &count) != 3)
		return false;
	return inside || outside || count != UINT32_MAX;
}

bool rights_under_seccomp(void)
{
	return own_status("Seccomp", 10) != 0;
}
