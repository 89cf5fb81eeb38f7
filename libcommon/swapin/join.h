/* SPDX-License-Identifier: MIT */
/* How many threads are woken by messages. */
#pragma once

#include "pager/pager.h"

/* Of the threads that answer, half are woken from the beginning, at least one. */
void join_init(struct pager *pager);

/*
 * The calling thread, which answers faults, is about to wait for something that may take long, and has waited: as long
 * as all that are woken by messages do so another one joins them. `lock` is not held.
 */
void join_begin_wait(struct pager *pager);
void join_end_wait(struct pager *pager);

/*
 * Housekeeping: one joins when no message was read since the last time and one waits, for whatever reason; one that was
 * not needed for some time leaves.
 */
void join_inspect(struct pager *pager);
