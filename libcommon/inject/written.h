/* SPDX-License-Identifier: MIT */
/* Files that are opened for writing while a target is served. */
#pragma once

/*
 * The paths, by the pointers that open(2) is given: all that a seccomp filter sees of them. NULL behind the last.
 * Nothing else is opened for writing, or made, from inject_begin to inject_end and in inject_userfaultfd.
 */
extern const char *const inject_written[];

extern const char inject_uffd_device[];  /* /dev/userfaultfd */
extern const char inject_cgroup_procs[]; /* in the directory of a cgroup */
