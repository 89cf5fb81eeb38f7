/* SPDX-License-Identifier: MIT */
/* What has moved, and what stands in the way of the rest. */
#include "edit/move_call.h"

#include <errno.h>
#include <unistd.h>

#include "base/size.h"
#include "pages/pages.h"

#define PAGEMAP_TRIES    1000
#define PAGEMAP_AGAIN_US 1000
#define MAPPED_ONCE      (PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE)

int move_pagemap(int pagemap_fd, uint64_t address, size_t count, uint64_t *entries)
{
	int rc;

	for (unsigned int tries = 0; tries < PAGEMAP_TRIES; tries++) {
		rc = pagemap_read(pagemap_fd, address, count, entries);
		if (rc == 0 || rc == -ESRCH)
			return rc;
		usleep(PAGEMAP_AGAIN_US);
	}
	return rc;
}

int move_count(int pagemap_fd, struct uffdio_move *argument)
{
	uint64_t before[MOVE_PAGES_A_LOOK], after[MOVE_PAGES_A_LOOK];
	bool holes = argument->mode & UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES;
	size_t count;

	argument->move = argument->move > 0 ? argument->move : 0;
	for (uint64_t at = (uint64_t)argument->move; at < argument->len; at += count * page_size()) {
		count = min_u64(MOVE_PAGES_A_LOOK, (argument->len - at) / page_size());
		if (move_pagemap(pagemap_fd, argument->src + at, count, before) < 0 ||
		    move_pagemap(pagemap_fd, argument->dst + at, count, after) < 0)
			return -ESRCH;
		for (size_t i = 0; i < count; i++) {
			if (pagemap_populated(before[i]) || (!holes && !pagemap_populated(after[i])))
				return 0;
			if (pagemap_populated(after[i]))
				argument->move = (int64_t)(at + (i + 1) * page_size());
		}
	}
	return 0;
}

/* How many of the entries, from one on, have this of the two marks. */
static size_t count_marked(const uint64_t *entries, size_t from, size_t count, uint64_t marks)
{
	size_t i = from;

	while (i < count && (entries[i] & MAPPED_ONCE) == marks)
		i++;
	return i - from;
}

int64_t move_resolve_busy(struct access *access, int pagemap_fd, struct region region, uint64_t *tried,
			  struct move_busy *busy)
{
	uint64_t entries[MOVE_PAGES_A_LOOK];
	size_t count = min_u64(MOVE_PAGES_A_LOOK, region_bytes(region) / page_size());
	int64_t rc = pagemap_read(pagemap_fd, region.start, count, entries);
	uint64_t run;

	if (rc < 0)
		return rc;
	run = count_marked(entries, 0, count, MAPPED_ONCE) * page_size();
	*busy = (struct move_busy){.stay = page_size(), .shared = !run};
	if (run && tried && *tried != region.start) {
		*tried = region.start;
		busy->stay = 0;
		rc = access->ops->area.populate(access, region_at(region.start, run));
		return rc == -ESRCH ? rc : 0;
	}
	if (!run)
		busy->stay += count_marked(entries, 1, count, PAGEMAP_PRESENT) * page_size();
	return 0;
}
