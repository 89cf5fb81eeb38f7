/* SPDX-License-Identifier: MIT */
/* PROCMAP_QUERY, tried: mapping_at goes another way in silence where it is not there. */
#include "proc/query.h"

#include <errno.h>
#include <stdint.h>

#include "proc/uapi.h"

int procmap_query_try(int maps_fd)
{
	struct procmap_query query = {.size = sizeof(query), .query_addr = (uintptr_t)&query};

	return ioctl(maps_fd, PROCMAP_QUERY, &query) ? -errno : 0;
}
