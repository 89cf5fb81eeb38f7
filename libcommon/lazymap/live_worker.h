/* SPDX-License-Identifier: MIT */
/* The process that serves. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* `work` of supervisor_ops. Returns in a new process that is the next watcher. */
void live_worker_run(struct supervisor *watcher, int channel);
