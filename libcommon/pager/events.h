/* SPDX-License-Identifier: MIT */
/* What the target did to its address space, applied to the index. */
#pragma once

#include "index/index.h"
#include "pager/pager.h"

/*
 * What the target did to its address space, applied to the index. The caller holds `events` exclusively. May
 * be repeated after a death in the middle.
 */
void event_apply(struct pager *pager, struct space *space, struct index_pending *pending);

/*
 * A child of `parent`, with everything that is out in it but what is not handed on. Takes the descriptor. `lock` is
 * held.
 */
struct fork_event {
	int uffd;
	uint64_t stored_as;                /* number under which the supervisor gets the descriptor */
	bool saved;                        /* it has it */
	const struct region_vec *unforked; /* what is not handed on; NULL: to be found in the child */
};
void event_fork(struct pager *pager, struct space *parent, const struct fork_event *fork);
void event_find_unforked(struct pager *pager, const struct space *parent, struct region_vec *unforked,
			 struct fork_event *fork);

/*
 * The target forks, of which nothing has been read: notes in the index what its child will not get. `events` is held
 * exclusively.
 */
void event_inspect_fork(struct pager *pager);

/*
 * Reads on until that fork is pending: what was read in vain goes to the end of the queue (fs/userfaultfd.c,
 * userfaultfd_ctx_read). When events come before it that were behind it, all there are are put aside, forks among them:
 * event_apply_passed makes their children of what there was before, each with the events that it shows, and applies the
 * events. Faults are given to the callback. `events` is held exclusively.
 */
void event_read_fork(struct pager *pager, void (*fault)(struct pager *pager, const struct uffd_msg *message));
void event_apply_passed(struct pager *pager);

/* A worker that took over: a fork that was about to be pending is. */
void event_find_passed_fork(struct pager *pager);

/* There is no fork any more that is awaited. */
void event_forget_fork(struct pager *pager);

/* An event was read, not a fault, while a fork is awaited that may be older: puts it aside, as long as there is room.
 */
void event_put_aside(struct pager *pager);

/* Forgets what is out in a child where it has nothing, if no event is unread. `events` is held exclusively. */
void event_check_absent(struct pager *pager, struct space *space);

/* Wakes those who wait at addresses that changed under them: they fault again. The caller holds `events`. */
void event_wake(struct pager *pager, struct space *space, const struct uffd_msg *message);
