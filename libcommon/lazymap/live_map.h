/* SPDX-License-Identifier: MIT */
/* The target, and our puppet there. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* Takes what is ours out of the target: the puppet, and with `unmap` the mappings. Returns 0 or -errno. */
int live_leave(struct live *live, bool unmap, struct error *error);

/*
 * Now and then. A puppet that has no business there any more is ended; in place of one that was killed there is another
 * one.
 */
void live_puppet_inspect(struct live *live);
