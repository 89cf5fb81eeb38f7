/* SPDX-License-Identifier: MIT */
/*
 * Copies of descriptors that the target holds for us, so that they outlive every process of the session. Internal to
 * the room.
 */
#pragma once

#include "pager/pager.h"

/* The store when it is in memory, and the key when it is encrypted. Returns 0 or -errno with `error` filled. */
int target_fds_give_store(struct pager *pager, struct error *error);

/* The pool, unless it is held: before anything is in it. Returns as target_fds_give_store. */
int target_fds_give_pool(struct pager *pager, struct error *error);

/*
 * All of it once more, for a program that closes what it does not know, and the userfaultfd too; where the puppet that
 * had them was ended, later those of children as well. A thread is held. Returns 0 or -errno.
 */
int64_t target_fds_give_all(struct pager *pager);

/*
 * Of children that have been there for a while: were all our processes killed, a child would read zeros without its
 * descriptor. Lets go of those that are not needed any more. `job` is held; stops a thread only when there is something
 * to do. Failures are tried again the next time.
 */
void target_fds_give_children(struct pager *pager);

/*
 * What a worker that died had given to the target and could not note any more, of the children there are: to be let go
 * of.
 */
void target_fds_find_lost(struct pager *pager);

/* A child is not served any more. `lock` is held. */
void target_fds_forget(struct pager *pager, unsigned int space);

/* The target lets go of everything but its own userfaultfd. `job` is held. */
void target_fds_return(struct pager *pager);

/* Notes in the index where the session's own mappings and descriptors are in the target. */
void target_fds_note(struct pager *pager);

/*
 * As begin of the way in, which may have had to make some of what is ours in the target anew: the index is told, and
 * what is to be held there is held again. `job` is held. Returns 0 or -errno with `error` filled.
 */
int target_fds_begin(struct pager *pager, struct error *error);
