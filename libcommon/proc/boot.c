/* SPDX-License-Identifier: MIT */
#include "proc/boot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

bool boot_id(char id[BOOT_ID])
{
	if (fd_read_text_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id, BOOT_ID) < BOOT_ID - 1)
		*id = '\0';
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
