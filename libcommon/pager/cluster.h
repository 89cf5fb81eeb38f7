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
