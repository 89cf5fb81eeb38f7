/* SPDX-License-Identifier: MIT */
/* Events that tell of what the kernel may not have done yet. */
#pragma once

#include "pager/pager.h"

/* Of the target's own memory. `lock` held: one was read; whether a page may yet be discarded by one. */
void discard_note(struct pager *pager, struct region region);
bool discard_pending(const struct pager *pager, uint64_t address);

/* Forgets those that are over. No lock is held, and no thread of the target. */
void discards_quiesce(struct pager *pager);
