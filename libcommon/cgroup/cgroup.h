/* SPDX-License-Identifier: MIT */
/* Control groups by their directories, of version 2 and, where they still are, of version 1 (cgroups(7)). */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/target.h"
#include "report/error.h"

/*
 * Opens a directory of either version, to look after its processes; a path below the mount point of a hierarchy, as the
 * kernel tells it of a process, stands for the directory there. Returns a descriptor or -errno with `error` filled:
 * -EINVAL when it is none, or a threaded one (cgroups(7)).
 */
int cgroup_open(const char *path, struct error *error);

/*
 * Opens the cgroup of a systemd unit: the highest directory of that name, which gets ".service" when it has no type
 * (systemd.unit(5)). Returns and errors as cgroup_open; -ENOMSG: no such unit runs.
 */
int cgroup_unit(const char *name, struct error *error);

/*
 * The path of the cgroup that counts the memory of a process, below its mount point. Returns 0, -ENOENT when there is
 * none, or -errno. cgroups(7), /proc/PID/cgroup.
 */
int cgroup_path(pid_t pid, char path[PATH_MAX]);

/*
 * Calls back for each process in it and below. Returns 0, -ENODEV when it has been removed, or -EOPNOTSUPP when it has
 * become a threaded one.
 */
typedef void (*cgroup_pid_fn)(void *context, pid_t pid);
int cgroup_pids(int cgroup, cgroup_pid_fn callback, void *context);

/*
 * Opens the directory that a process is in: in the version 1 hierarchy of a controller ("memory", "freezer"), or in
 * version 2 for NULL. Returns a descriptor, or -errno: -ENOENT when there is no such hierarchy or its directory is not
 * below a mount point here, -ESRCH when the process is gone.
 */
int cgroup_of(const struct target *target, const char *controller);

/* How near a cgroup is to a limit of its memory. */
struct cgroup_memory {
	uint64_t used;  /* bytes; without page cache that the kernel drops first (inactive_file of memory.stat) */
	uint64_t limit; /* bytes; memory.high or memory.max, memory.limit_in_bytes of version 1; UINT64_MAX: none */
};

/*
 * Of a directory and all above it, the one that has the least left. Returns 0, or -ENOENT when none of them counts
 * memory.
 */
int cgroup_memory(int directory, struct cgroup_memory *nearest);

/* Bytes until the limit is reached; 0 when it is exceeded, UINT64_MAX without one. */
uint64_t cgroup_memory_left(const struct cgroup_memory *memory);

/* What one directory says of itself. Returns 0, or -ENOENT when it does not count memory. */
int cgroup_memory_here(int directory, struct cgroup_memory *memory);

/* Calls back for each directory that limits memory, from this one upwards. The callback only borrows the directory. */
typedef void (*cgroup_limit_fn)(void *context, int directory, const struct cgroup_memory *memory);
void cgroup_limits(int directory, cgroup_limit_fn callback, void *context);

/* Opens the directory whose memory controller counts a process, of either version. Returns and errors as cgroup_of. */
int cgroup_of_memory(const struct target *target);

/*
 * What this process may still use before its cgroup, or one above it, is at its limit (bytes; UINT64_MAX: no limit).
 * Returns 0, or -errno when that cannot be told (-ENOENT: nothing here counts its memory).
 */
int cgroup_left_here(uint64_t *left);

/*
 * Moves this process out of cgroups that limit its memory, to the topmost one that can be seen; where that is not
 * permitted it stays. Returns as cgroup_left_here, of where it is then.
 */
int cgroup_leave_limits(uint64_t *left);

/* Whether a process is frozen by its cgroup or by one above it, of either version. */
bool cgroup_is_frozen(const struct target *target);

/* Whether none of the threads of a process can run: all are stopped by a signal (state T of proc(5)), or its cgroup is
 * frozen. */
bool target_is_stopped(const struct target *target);
