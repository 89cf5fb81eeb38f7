/* SPDX-License-Identifier: MIT */
/* Many regions at once: a system call for each would cost more than looking at their pages. */
#include "pages/tally.h"

#include "base/size.h"
#include "pages/fold.h"
#include "pages/scan.h"

#define GAP (16 * MiB) /* address space between regions that is cheaper walked over than asked around */

static int store_sums(void *context, struct region part, const struct residency *residency)
{
	(void)part;
	*(struct residency *)context = *residency;
	return 0;
}

int pages_sum(const struct pages *pages, struct region region, struct residency *sum)
{
	*sum = (struct residency){.huge = pages->has_scan ? 0 : UINT64_MAX};
	return pages_superpages(pages, region, UINT64_C(1) << 62, true, store_sums, sum);
}

static int one_by_one(const struct pages *pages, const struct region *regions, size_t count, struct residency *sums)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = pages_sum(pages, regions[i], &sums[i]);
	return rc;
}

static void add_range(struct residency *sum, uint64_t bytes, uint64_t categories)
{
	unsigned int state = page_state(categories);

	sum->resident += state & PAGE_RESIDENT ? bytes : 0;
	sum->swapped += state & PAGE_SWAPPED ? bytes : 0;
	sum->huge += state & PAGE_HUGE ? bytes : 0;
}

/* A range may reach over several regions, and what lies between them. */
static int tally_regions(const struct pages *pages, const struct region *regions, size_t count, struct residency *sums)
{
	struct scan scan = {.pagemap_fd = pages->pagemap_fd,
			    .left = {regions[0].start, regions[count - 1].end},
			    .any = PAGE_IS_PRESENT | PAGE_IS_SWAPPED};
	size_t at = 0;
	int found;

	while ((found = scan_next(&scan)) > 0)
		for (int i = 0; i < found; i++) {
			struct region range = {scan.ranges[i].start, scan.ranges[i].end};

			while (at < count && regions[at].end <= range.start)
				at++;
			for (size_t j = at; j < count && regions[j].start < range.end; j++)
				add_range(&sums[j], region_bytes(region_intersect(range, regions[j])),
					  scan.ranges[i].categories);
		}
	return found;
}

int pages_tally(const struct pages *pages, const struct region *regions, size_t count, struct residency *sums)
{
	size_t begun = 0;
	int rc = 0;

	if (pages->method != PAGES_SCAN)
		return one_by_one(pages, regions, count, sums);
	for (size_t i = 0; i < count; i++)
		sums[i] = (struct residency){0};
	for (size_t i = 1; rc == 0 && i <= count; i++) {
		if (i < count && regions[i].start - regions[i - 1].end < GAP)
			continue;
		rc = tally_regions(pages, regions + begun, i - begun, sums + begun);
		begun = i;
	}
	return rc;
}
