/* SPDX-License-Identifier: MIT */
/*
 * Guards (madvise(2), MADV_GUARD_INSTALL of Linux 6.13). No event tells of them, and UFFDIO_COPY and UFFDIO_POISON put
 * a page in the place of one (mm/userfaultfd.c, mfill_atomic_install_pte: any mark of a page table may be replaced).
 * Where they are is told by pagemap (Linux 6.15). A program that lays one over a page has given the page up: without
 * the guard it holds zeros.
 */
#include "swapin/guards.h"

#include "confine/confine.h"
#include "index/index.h"
#include "pager/children.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pages/pages.h"
#include "pages/scan.h"
#include "swapin/bring.h"

#define SCAN_BYTES    (1 * GiB) /* of mappings, in one scan: a few milliseconds */
#define MAPPING_BYTES (1 * MiB) /* a mapping takes no less time than so much */

uint64_t guards_over(const struct pager *pager, const struct claim *claim, uint64_t mask)
{
	uint64_t entries[CLUSTER_PAGES_MAX];
	uint64_t guarded = 0;
	unsigned int first, end;
	uint64_t start;
	int rc;

	if (!mask)
		return 0;
	first = (unsigned int)__builtin_ctzll(mask);
	end = 64 - (unsigned int)__builtin_clzll(mask);
	start = claim->base + first * page_size();
	if (claim->space->id) {
		bool force = confine_force(true); /* it may be more privileged than this thread */

		rc = child_pagemap_read(claim->space, start, end - first, entries);
		confine_force(force);
	} else {
		rc = pagemap_read(pager->view.pagemap_fd, start, end - first, entries);
	}
	if (rc < 0)
		return 0;
	for (unsigned int i = first; i < end; i++)
		if (entries[i - first] & PAGEMAP_GUARD)
			guarded |= UINT64_C(1) << i;
	return guarded & mask;
}

/* The next guards in scan->left. Returns how many ranges, 0 when there are no more, or none can be told. */
static int next_guards(struct scan *scan)
{
	int count = scan_next(scan);

	return count < 0 ? 0 : count;
}

/*
 * Forgets what is out under guards, of which there were some in a region. `events` makes sure that nobody moves or
 * places it meanwhile, and that what it holds lies where the index says, unless an event shows afterwards.
 */
static void drop_guarded(struct pager *pager, struct scan *scan, struct region region)
{
	struct space *space = &pager->spaces[0];
	int count;

	scan->left = region;
	pthread_rwlock_wrlock(&space->events);
	count = space->dead ? 0 : next_guards(scan);
	if (count && !uffd_changing(space->uffd)) {
		pthread_mutex_lock(&pager->lock);
		for (int i = 0; i < count; i++)
			space_drop(pager, space, (struct region){scan->ranges[i].start, scan->ranges[i].end});
		space->check_soon = true;
		pthread_mutex_unlock(&pager->lock);
	}
	pthread_rwlock_unlock(&space->events);
}

/* Those ranges that were found in which something is out, as one region. */
static struct region find_out_under(struct pager *pager, const struct scan *scan, int count)
{
	struct region found = {UINT64_MAX, 0};

	pthread_mutex_lock(&pager->lock);
	for (int i = 0; i < count; i++) {
		struct region range = {scan->ranges[i].start, scan->ranges[i].end};

		if (!index_any(pager->index, 0, range))
			continue;
		found.start = min_u64(found.start, range.start);
		found.end = range.end;
	}
	pthread_mutex_unlock(&pager->lock);
	return found;
}

static void scan_region(struct pager *pager, struct scan *scan, struct region region)
{
	struct region found;
	int count;

	scan->left = region;
	while ((count = next_guards(scan)) > 0) {
		struct region left = scan->left;

		found = find_out_under(pager, scan, count);
		if (found.end)
			drop_guarded(pager, scan, found);
		scan->left = left;
	}
}

/* The registered mappings in which something is out. */
static void find_mappings(struct pager *pager, struct region_vec *mappings)
{
	const struct region_vec *registered = &pager->spaces[0].registered;

	pthread_mutex_lock(&pager->lock);
	for (size_t i = 0; !pager->spaces[0].dead && i < registered->count; i++)
		if (registered->items[i].end > pager->view.guards_seen &&
		    index_any(pager->index, 0, registered->items[i]) &&
		    region_vec_push(mappings, registered->items[i]) < 0)
			break;
	pthread_mutex_unlock(&pager->lock);
}

void guards_scan(struct pager *pager)
{
	_cleanup_regions_ struct region_vec mappings = {0};
	struct scan scan = {.pagemap_fd = pager->view.pagemap_fd, .required = PAGE_IS_GUARD};
	uint64_t left = SCAN_BYTES;

	find_mappings(pager, &mappings);
	for (size_t i = 0; i < mappings.count; i++) {
		struct region part = mappings.items[i];

		part.start = max_u64(part.start, pager->view.guards_seen);
		part.end = min_u64(part.end, part.start + left);
		scan_region(pager, &scan, part);
		pager->view.guards_seen = part.end;
		left -= min_u64(left, max_u64(region_bytes(part), MAPPING_BYTES));
		if (!left)
			return;
	}
	pager->view.guards_seen = 0;
}
