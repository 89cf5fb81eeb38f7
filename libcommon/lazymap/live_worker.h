/* SPDX-License-Identifier: MIT */
/* The process that serves. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* live_worker.c: the worker. Returns in a new process that is to be the next watcher; otherwise it ends the process. */
void live_worker_run(struct live *live);
