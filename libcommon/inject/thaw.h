/* SPDX-License-Identifier: MIT */
/* A process in a frozen cgroup, made able to make system calls and nothing else. */
#pragma once

#include "inject/inject.h"

struct inject_thaw;

/*
 * A frozen thread stops for a tracer, but freezes again on its way to a system call (kernel/signal.c, do_freezer_trap).
 * So all other threads of the target, of which inject_begin has stopped one, are stopped too, and the process moves to
 * a cgroup beside the frozen one until inject_thaw_end. A process apart moves it back if this one dies meanwhile; what
 * its threads do in that instant is all that can happen. Cgroups of version 2. Returns 0, -ENOTSUP when it is not
 * frozen by one of those, -EBUSY when a thread sleeps uninterruptibly and cannot be stopped, or -errno.
 */
int inject_thaw_begin(struct inject *inject, struct inject_thaw **result);

/*
 * Moves it back and lets the other threads go; NULL is allowed. Returns 0, or -errno when it could not be moved back
 * (it is frozen no more then).
 */
int inject_thaw_end(struct inject_thaw *thaw);
