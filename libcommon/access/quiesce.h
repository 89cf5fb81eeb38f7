/* SPDX-License-Identifier: MIT */
/* After the death of a process that was injecting: its control area, and the threads that may still stand there. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "inject/inject.h"
#include "report/error.h"

/*
 * After another of our tracers died: makes sure that none of its system calls is still to be made by a thread that has
 * not run since, waiting up to `timeout_ms`. Returns 0; -EINPROGRESS, all calls are undone, but a thread stands in the
 * control area, or where it makes a process (puppet/birth.h), because its own is stopped: it goes on from there when
 * that is continued, by a frame that is still to be there; -ETIMEDOUT, a thread cannot be inspected; or -ESRCH.
 */
int inject_quiesce(struct inject *inject, int timeout_ms);

/*
 * As inject_rejoin, for the control area at `area` of a process that was killed, and inject_quiesce. Returns 0 with the
 * area ours; with nothing held: -ENOENT no such area (any more); -EINPROGRESS, the area stays; -ETIMEDOUT; or as
 * inject_open.
 */
int inject_inherit(struct inject *inject, const struct target *target, uint64_t area, int timeout_ms,
		   struct error *error);
