/* SPDX-License-Identifier: MIT */
#include "proc/boot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"

bool boot_id(char id[BOOT_ID])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, id, BOOT_ID - 1);

	id[n == BOOT_ID - 1 ? n : 0] = '\0';
	return *id;
}

uint64_t pid_namespace(void)
{
	char link[64] = "";
	uint64_t number = 0;

	if (readlink("/proc/self/ns/pid", link, sizeof(link) - 1) < 0 ||
	    sscanf(link, "pid:[%" SCNu64 "]", &number) != 1)
		return 0;
	return number;
}
