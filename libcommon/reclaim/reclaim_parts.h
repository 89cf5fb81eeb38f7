/* SPDX-License-Identifier: MIT */
/* What the files of the reclaimer outside share. */
#pragma once

#include "reclaim/reclaimer.h"

#define RECLAIM_HOLD_US   2000    /* for which a thread is kept, but for a call that takes longer */
#define RECLAIM_TRACER_US 1000000 /* for another tool to let go, and for one that was killed to be gone */

/*
 * Whether to try again, until `deadline`, what failed because the process is traced: by another of our tools for an
 * instant, or by one that was killed and is not quite gone.
 */
bool reclaimer_traced_for_now(int rc, uint64_t deadline);

/*
 * Stops a thread and makes sure that it is in the address space that has the ring: between finding it and now its
 * process may have become another program. Needs the reclaimers' lock. Returns 0, -ESTALE when it is another one, or as
 * inject_begin.
 */
int reclaimer_hold(struct reclaimer *reclaimer, struct error *error);
void reclaimer_let_go(struct reclaimer *reclaimer);

/* The error of a process whose threads do not run, whatever was tried. Returns -EBUSY (frozen) or -ETIMEDOUT. */
int reclaimer_frozen(const struct reclaimer *reclaimer, struct error *error);

/*
 * Does what a batch says and completes it. A thread is held, and afterwards too unless this fails; meanwhile it may
 * have been another one. Returns 0, or with `error` filled a negative errno: the batch is left as claimed, for the next
 * reclaimer to redo.
 */
int reclaimer_batch(struct reclaimer *reclaimer, const struct ring_batch *batch, struct reclaim_done *done,
		    struct error *error);

/*
 * reclaim_agent.c. The agent: connected under the lock, until before it is let go. Returns 0 or -errno with `error`
 * filled.
 */
int reclaimer_join(struct reclaimer *reclaimer, struct error *error);
void reclaimer_part(struct reclaimer *reclaimer);

/*
 * Has the agent drop or unmap (`op`: AGENT_RECLAIM_) what of the entry with the id `id` + i is in regions[i]. Returns 0
 * or -errno, which is about the regions; with `error` filled when it is about the agent: reclaiming cannot go on.
 */
int reclaimer_ask(struct reclaimer *reclaimer, enum agent_op op, uint64_t id, const struct agent_region *regions,
		  unsigned int count, struct error *error);
