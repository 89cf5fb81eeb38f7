/* SPDX-License-Identifier: MIT */
/* The pool in memory, and the store. */
#pragma once

#include "index/index.h"
#include "pager/pager.h"

/* Makes pool_fd unless it is there; the supervisor's, so that the pool outlives workers. Returns 0 or -errno. */
int pool_new(struct pager *pager);

/* Opens the pool, empty, over it. Returns 0 or -ENOMEM. */
int pool_open(struct pager *pager, struct codec_choice codec);

/* From now on the records of both are sealed, when the session has a key. */
void tiers_seal(struct pager *pager);

/* Where the record of a cluster in state STORED lies (its slot has a length): which of the two, and the slot there. */
struct store *tier_of(const struct pager *pager, uint32_t number, struct store_slot *slot);

/* The cluster has been written to the pool, or to the store. `lock` held. */
void tier_enter(struct pager *pager, uint32_t number, const struct store_slot *slot, bool pool);

#define DENSE_AGE_DS 30 /* of a record that is made denser */

/* CLOCK_MONOTONIC in tenths of a second. */
uint32_t tier_now_ds(void);

/* A record that was made then is to be made denser when it is old enough (dense.c). */
void tier_expect_dense(struct pager *pager, uint32_t made_ds);
