/* SPDX-License-Identifier: MIT */
/* The worker's copy of what is in the staging area. Internal to the room. */
#pragma once

#include "pager/pager.h"

/* Address space for it, no memory yet. Returns 0 or -ENOMEM. */
int mirror_make(struct pager *pager);

/*
 * Before a swap-out: where a cgroup limits memory, all of the copy is had now, or nothing leaves. Returns 0, or -ENOMEM
 * with `error` filled. `job` is held.
 */
int mirror_reserve(struct pager *pager, struct error *error);

/* Nothing is staged any more: waits for threads that read it, then gives its memory back. `job` is held. */
void mirror_give_back(struct pager *pager);

/*
 * At the limit of a cgroup the kernel would let us wait for memory, and the target for us. Returns 0 when so many bytes
 * are left, or -ENOMEM with `error` filled.
 */
int mirror_check_memory(const struct pager *pager, uint64_t bytes, struct error *error);
