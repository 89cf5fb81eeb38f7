/* SPDX-License-Identifier: MIT */
/* PAGEMAP_SCAN as a stream of page ranges. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/region.h"
#include "pages/uapi.h"

#define SCAN_RANGES 512

/* One walk over a region. Set the first four and call scan_next until it returns 0. */
struct scan {
	int pagemap_fd;
	struct region left; /* what is still to be walked */
	uint64_t required;  /* PAGE_IS_*: all of these … */
	uint64_t any;       /* … and, unless 0, one of these */
	struct page_region ranges[SCAN_RANGES];
};

/* Fills ranges[] with the next pages that match. Returns how many, 0 at the end, or -errno. */
int scan_next(struct scan *scan);
