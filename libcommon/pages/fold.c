/* SPDX-License-Identifier: MIT */
/* Adds up page ranges, given in order, into superpages. */
#include "pages/fold.h"

#include "base/size.h"
#include "pages/uapi.h"

unsigned int page_state(uint64_t categories)
{
	/* A guard page is told as swapped, but holds nothing. */
	if (categories & PAGE_IS_PRESENT)
		return PAGE_RESIDENT | (categories & PAGE_IS_HUGE ? PAGE_HUGE : 0);
	return categories & PAGE_IS_SWAPPED && !(categories & PAGE_IS_GUARD) ? PAGE_SWAPPED : 0;
}

int fold_end(struct fold *fold)
{
	if (!fold->sum.resident && !fold->sum.swapped)
		return 0;
	if (!fold->knows_huge)
		fold->sum.huge = UINT64_MAX;
	return fold->callback(fold->context, fold->superpage, &fold->sum);
}

/* The superpage around an address, clipped; its unclipped end may lie beyond 2^64. */
static struct region superpage_at(const struct fold *fold, uint64_t address)
{
	uint64_t start = round_down(address, fold->size);
	uint64_t rest = fold->within.end - start;

	return (struct region){max_u64(start, fold->within.start), start + min_u64(rest, fold->size)};
}

int fold_add(struct fold *fold, struct region pages, unsigned int state)
{
	while (pages.start < pages.end) {
		uint64_t end, bytes;

		if (pages.start >= fold->superpage.end) {
			int result = fold_end(fold);

			if (result)
				return result;
			fold->sum = (struct residency){0};
			fold->superpage = superpage_at(fold, pages.start);
		}
		end = min_u64(pages.end, fold->superpage.end);
		bytes = end - pages.start;
		if (state & PAGE_RESIDENT)
			fold->sum.resident += bytes;
		if (state & PAGE_SWAPPED)
			fold->sum.swapped += bytes;
		if (state & PAGE_HUGE)
			fold->sum.huge += bytes;
		pages.start = end;
	}
	return 0;
}
