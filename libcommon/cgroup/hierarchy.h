/* SPDX-License-Identifier: MIT */
/* The hierarchies of cgroups that are mounted here. Internal to the room. */
#pragma once

/* Where a path or a name is looked for, as the controllers of cgroup_below: where the memory of processes counts comes
 * first. */
#define CGROUP_HIERARCHIES 3
extern const char *const cgroup_hierarchies[CGROUP_HIERARCHIES];

/*
 * Opens the directory that a path has in the hierarchy of a controller ("memory", "name=systemd"), or in version 2 for
 * NULL; with `path` NULL its mount point. Returns a descriptor, or -ENOENT: there is no such hierarchy, or the path is
 * not in what is mounted of it.
 */
int cgroup_below(const char *controller, const char *path);
