/* SPDX-License-Identifier: MIT */
/* Memory that a watch of a whole process has yet to take in. Internal to the room. */
#pragma once

#include "pager/pager.h"

/*
 * Appends what the target has mapped as private, anonymous and writable memory outside of `known`, as far as it holds
 * pages, in order: a region is a mapping, or what of one is not known. Whether it is eligible is not asked.
 * Returns 0 or -errno (-ESRCH: the address space is gone, -ENOMEM).
 */
int watch_find(const struct pager *pager, const struct region_vec *known, struct region_vec *found);
