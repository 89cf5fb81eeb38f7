/* SPDX-License-Identifier: MIT */
/* Guards that the target has laid over what is out. */
#pragma once

#include "pager/pager.h"

struct claim;

/*
 * Forgets what is out under guards that the target has laid over it since it was looked for them last; of
 * much memory a part at a time. No lock is held.
 */
void guards_scan(struct pager *pager);

/*
 * Those pages of a mask over which the program has laid a guard, in a child if its process is known.
 * `events` is held shared: while an event is unread the pages of the claim may lie elsewhere.
 */
uint64_t guards_over(const struct pager *pager, const struct claim *claim, uint64_t mask);
