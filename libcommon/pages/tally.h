/* SPDX-License-Identifier: MIT */
/* What is resident in a region, and in each of many. */
#pragma once

#include "pages/pages.h"

/* Adds up one region, inside one mapping. Returns 0 or -errno, as pages_superpages. */
int pages_sum(const struct pages *pages, struct region region, struct residency *sum);

/*
 * Adds up each of `count` regions (page aligned, in order of address, without overlaps, in the process's half of the
 * address space) into the sums[] of the same number: by PAGEMAP_SCAN in one walk over neighbours, else region by
 * region. `pages` is open and not PAGES_MINCORE. Returns 0 or -errno (-ESRCH: the address space is gone, where that
 * shows).
 */
int pages_tally(const struct pages *pages, const struct region *regions, size_t count, struct residency *sums);
