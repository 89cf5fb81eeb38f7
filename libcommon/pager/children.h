/* SPDX-License-Identifier: MIT */
/* What is known of the processes that forked children are. Internal to the room. */
#pragma once

#include "pager/pager.h"

/* Learns from a fault that was read and not answered which process a child is. `events` is held exclusively. */
void child_learn(struct space *space, pid_t tid);

/* As pagemap_read, of a child. -ESRCH also when its process is not known. */
int child_pagemap_read(const struct space *space, uint64_t start, size_t count, uint64_t *entries);

/*
 * A child has an event unread. If that may be a fork, notes in the space what its own child will not get, as far as its
 * process is known. `events` is held exclusively.
 */
void child_inspect(struct space *space);
