/* SPDX-License-Identifier: MIT */
/* Whether the kernel tells of a single mapping. */
#pragma once

/*
 * PROCMAP_QUERY (Linux 6.11) tried on an open /proc/PID/maps. Returns 0, or -errno: -ENOTTY when the kernel does not
 * know it.
 */
int procmap_query_try(int maps_fd);
