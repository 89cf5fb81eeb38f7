/* SPDX-License-Identifier: MIT */
/* Trying what a seccomp filter may kill for. */
#pragma once

/*
 * Calls run(argument), which returns 0 or -errno. When a seccomp filter is on this process it does so in a child, and
 * returns -EPERM when that is killed. Nothing that run() leaves behind can be relied on, neither memory nor
 * descriptors.
 */
int guard_call(int (*run)(const void *argument), const void *argument);
