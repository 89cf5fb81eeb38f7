/* SPDX-License-Identifier: MIT */
/* Who touched which pages: names, sums and the pages seen so far. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proc/maps.h"
#include "proc/target.h"

struct page_touch {
	uint64_t address; /* of the page */
	uint32_t tid;     /* as the thread's own pid namespace numbers it */
	bool write;
	bool out; /* the page had been moved aside */
	uint64_t at_us;
};

/* Touches of one mapping name, or of one thread. */
struct touch_sum {
	uint32_t key; /* the thread's number as the kernel gave it; 0 for mappings */
	uint32_t tid; /* the thread's number here; 0: not known */
	char name[MAPPING_NAME];
	uint64_t touches;
	uint64_t bytes; /* of pages that it was the first to touch */
};

struct touch_sums {
	struct touch_sum *items;
	size_t count, size, last;
};

#define TOUCH_BLOCK_PAGES 512

/* Pages side by side, the first one's number a multiple of TOUCH_BLOCK_PAGES. */
struct touch_block {
	uint64_t first;                              /* its address by the page size */
	uint64_t seen[TOUCH_BLOCK_PAGES / 64];       /* a bit a page */
	uint64_t this_round[TOUCH_BLOCK_PAGES / 64]; /* the same, since the pages were last moved aside */
};

struct touches {
	const struct target *target;
	struct touch_block *blocks; /* in order; those of which a page was touched */
	size_t block_count, block_size;
	int maps;
	bool own_namespace; /* the target numbers its threads otherwise than we do */
	struct mapping mapping;
	struct touch_sums mappings, threads;
	uint64_t count, bytes, fresh_bytes;
	uint64_t last_new_us; /* when a page was touched for the first time, the last one */
	uint64_t round_count, round_bytes;
};

/* Returns 0 or -errno (-ESRCH). */
int touches_init(struct touches *touches, const struct target *target);
void touches_free(struct touches *touches);

/* The "touch" record of a touch, which is added to the sums. The caller owns it; NULL when out of memory. */
json_t *touches_add(struct touches *touches, const struct page_touch *touch);

/* The "interval" record of the time since the one before, in which threads waited so long. The caller owns it. */
json_t *touches_round(struct touches *touches, uint64_t at_us, uint64_t waited_us);

/* Mappings are looked up anew from here on: a name holds for a batch of touches. */
void touches_forget_mapping(struct touches *touches);

/*
 * Calls back with a "touched" record for each mapping name, then for each thread, those with the most bytes first.
 * Returns 0 or what the callback returned.
 */
int touches_emit(struct touches *touches, int (*emit)(void *context, json_t *record), void *context);
