/* SPDX-License-Identifier: MIT */
/* The userfaultfd, and the threads that serve it. */
#pragma once

#include "graph/graph.h"

/* Starts it the first time. Returns 0 or UVM_MEM_OPERATION_NOT_SUPPORTED. The graph's lock is held. */
int watch_start(void);

/* The descriptor, or -1. */
int watch_fd(void);

/* Whether writes to shared memory can be caught, and whether pages can be poisoned. */
bool watch_catches_writes(void);
bool watch_poisons(void);

/* Whether system calls wait for a page, too. */
bool watch_serves_calls(void);

/* From now on, or no longer, faults in the window of a space are its own to serve. The graph's lock is held. */
void watch_add_window(struct uvm_space *space);
void watch_remove_window(struct uvm_space *space);

/* A thread of the library: detached, all signals blocked. */
int watch_thread(void *(*run)(void *), void *argument);
