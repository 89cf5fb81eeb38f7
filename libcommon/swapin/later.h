/* SPDX-License-Identifier: MIT */
/* What is left to a thread that nobody waits for (behind.c). */
#pragma once

#include "pager/pager.h"

/*
 * To bring pages before they are asked for. What finds no room is not done: they come when they are asked for. Returns
 * whether the thread is asleep, and is to be woken (later_wake). `lock` held.
 */
bool later_prefetch(struct pager *pager, const struct prefetch *prefetch);
void later_wake(struct pager *pager);

/* To unpin a cluster. Returns false when there is no room. `lock` held. */
bool later_unpin(struct pager *pager, uint32_t number);

/* Does that, to so many. `lock` held. */
void later_unpin_now(struct pager *pager, unsigned int most);

/* The oldest that is to be brought. Returns false when there is none. `lock` held. */
bool later_take(struct pager *pager, struct prefetch *prefetch);
