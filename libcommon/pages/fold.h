/* SPDX-License-Identifier: MIT */
/* Adds up page ranges, given in order, into superpages. */
#pragma once

#include "pages/pages.h"

enum page_state {
	PAGE_RESIDENT = 1,
	PAGE_SWAPPED = 2,
	PAGE_HUGE = 4, /* resident, and a transparent huge page backs it */
};

/* The state of a page by its PAGE_IS_* categories (PAGEMAP_SCAN). */
unsigned int page_state(uint64_t categories);

/* Set the first five. */
struct fold {
	struct region within;
	uint64_t size;
	bool knows_huge;
	superpage_fn callback;
	void *context;
	struct region superpage; /* the one being added up; empty at first */
	struct residency sum;
};

/* Adds pages that are all in one state (enum page_state). Returns 0 or what the callback returned. */
int fold_add(struct fold *fold, struct region pages, unsigned int state);

/* Hands out the last superpage. */
int fold_end(struct fold *fold);
