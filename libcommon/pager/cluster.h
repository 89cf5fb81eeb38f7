/* SPDX-License-Identifier: MIT */
/* References to clusters. */
#pragma once

#include "index/index.h"
#include "pager/pager.h"

/* What a record is bound to: the number of its cluster and how often that was given out. */
uint64_t cluster_tag(const struct pager *pager, uint32_t number);

/* The contents of a cluster are lost while it was staged, holes apart. `lock` held. */
void cluster_lose(struct cluster *cluster);

/* Drops a reference to a cluster; frees it, and its slot, with the last. `lock` is held. */
void cluster_unref(struct pager *pager, uint32_t number);
void cluster_unpin(struct pager *pager, uint32_t number);

/*
 * Pins the next cluster, from number *at on, that `wants` is true of; *at is left behind it. Returns its number, or 0
 * at the end. Takes `lock`, and lets go of it between some thousands; `wants` is called with it held.
 */
uint32_t cluster_pin_next(struct pager *pager, uint64_t *at, bool (*wants)(void *context, const struct cluster *),
			  void *context);
