/* SPDX-License-Identifier: MIT */
/* What the kernel's settings and this process's own rights say of userfaultfd. */
#include "uffd/rights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define SYSCTL "/proc/sys/vm/unprivileged_userfaultfd"

/* The number after the first occurrence of `key` in a file of /proc. */
static bool read_number(const char *path, const char *key, int base, uint64_t *number)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		const char *found = strncmp(line, key, strlen(key)) ? NULL : line + strlen(key);
		char *end;

		if (!found)
			continue;
		*number = strtoull(found, &end, base);
		return end != found;
	}
	return false;
}

int uffd_sysctl(void)
{
	uint64_t value;

	if (read_number(SYSCTL, "", 10, &value))
		return (int)value;
	return errno == ENOENT ? 1 : -EIO;
}

bool uffd_capable(unsigned int capability)
{
	uint64_t effective;

	return read_number("/proc/self/status", "CapEff:", 16, &effective) && effective >> capability & 1;
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
	uint64_t mode;

	return read_number("/proc/self/status", "Seccomp:", 10, &mode) && mode;
}
