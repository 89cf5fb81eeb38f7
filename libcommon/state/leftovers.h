/* SPDX-License-Identifier: MIT */
/* What sessions left that ended without their own doing: when it may be removed. Internal to the room. */
#pragma once

#include <stdbool.h>

#include "proc/target.h"

/*
 * Removes sessions that nobody serves and whose process is proven to be gone (target_gone of proc/target.h, in the
 * session's own pid namespace), with their stores. Before something that makes or takes up a session; what only looks
 * removes nothing.
 */
void leftovers_remove_sessions(int sessions);

/* Removes this user's stores of earlier boots from a directory of stores: their indexes and their keys are gone. */
void leftovers_remove_stores(const char *directory);

/* Whether a session is there whose process is proven to be gone. */
bool leftovers_is_gone(int sessions, const char *name);

/*
 * Whether pages of a session that nobody serves may still be out, so that their readers wait: unless its userfaultfd is
 * proven to be no longer in the target. A lock on its directory is held.
 */
bool leftovers_matter(int sessions, const char *name, const struct target *target);
