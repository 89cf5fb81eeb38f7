/* SPDX-License-Identifier: MIT */
/* Residency by each of the three methods, folded into superpages. */
#include "pages/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "pages/fold.h"
#include "pages/scan.h"

#define PAGEMAP_STEP 8192  /* pages inspected in one step: 64 KiB of entries */
#define MINCORE_STEP 65536 /* more, because each step of mincore stops a thread of the target */

/* What is known of each page of a window. */
struct window {
	struct region region;
	size_t count;
	uint64_t entries[MINCORE_STEP];
	unsigned char core[MINCORE_STEP];
	unsigned char states[MINCORE_STEP];
	struct scan scan;
};

int pagemap_read(int pagemap_fd, uint64_t start, size_t count, uint64_t *entries)
{
	size_t bytes = sizeof(*entries);
	int rc = fd_read_all(pagemap_fd, entries, count * bytes, start / page_size() * bytes);

	return rc == -ENODATA ? -ESRCH : rc;
}

int pages_open(struct pages *pages)
{
	struct page_region range;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.end = page_size(),
		.vec = (uintptr_t)&range,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};

	pages->has_scan = ioctl(pages->pagemap_fd, PAGEMAP_SCAN, &arg) >= 0;
	if (pages->method == PAGES_AUTO)
		pages->method = pages->has_scan ? PAGES_SCAN : PAGES_PAGEMAP;
	if (pages->method == PAGES_SCAN && !pages->has_scan)
		return -EOPNOTSUPP;
	return pages->method == PAGES_MINCORE && !pages->mincore ? -EINVAL : 0;
}

static int walk_by_scan(const struct pages *pages, struct fold *fold)
{
	struct scan scan;
	uint64_t entry;
	int count;

	scan.pagemap_fd = pages->pagemap_fd;
	scan.left = fold->within;
	scan.required = 0;
	scan.any = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
	while ((count = scan_next(&scan)) > 0) {
		for (int i = 0; i < count; i++) {
			const struct page_region *range = &scan.ranges[i];
			unsigned int state = page_state(range->categories);
			int result = state ? fold_add(fold, (struct region){range->start, range->end}, state) : 0;

			if (result)
				return result;
		}
	}
	/* The ioctl finds nothing in an address space that is gone; reading tells it from an empty one. */
	return count < 0 ? count : pagemap_read(pages->pagemap_fd, fold->within.start, 1, &entry);
}

static unsigned int state_of_entry(uint64_t entry)
{
	if (entry & PAGEMAP_PRESENT)
		return PAGE_RESIDENT;
	return entry & PAGEMAP_SWAPPED && !(entry & PAGEMAP_GUARD) ? PAGE_SWAPPED : 0;
}

/* Pagemap's word on each page. Returns whether there is anything; most of a large reservation is empty. */
static bool judge_by_pagemap(struct window *window)
{
	uint64_t any = 0;

	for (size_t i = 0; i < window->count; i++)
		any |= window->entries[i];
	if (!pagemap_populated(any)) {
		memset(window->states, 0, window->count);
		return false;
	}
	for (size_t i = 0; i < window->count; i++)
		window->states[i] = (unsigned char)state_of_entry(window->entries[i]);
	return true;
}

/*
 * Lets mincore(2) decide what is in core. Pages in the swap cache, which it counts as such, stay swapped: no page table
 * leads to them.
 */
static int judge_by_mincore(const struct pages *pages, struct window *window, bool *found)
{
	int result = pages->mincore(pages->mincore_context, window->region, window->core);

	if (result == -ENOMEM) /* part of it was unmapped meanwhile */
		return 0;
	if (result)
		return result;
	for (size_t i = 0; i < window->count; i++) {
		if (window->states[i] & PAGE_SWAPPED)
			continue;
		window->states[i] = window->core[i] & 1 ? PAGE_RESIDENT : 0;
		*found |= window->states[i];
	}
	return 0;
}

static int mark_huge(const struct pages *pages, struct window *window)
{
	struct scan *scan = &window->scan;
	int count;

	scan->pagemap_fd = pages->pagemap_fd;
	scan->left = window->region;
	scan->required = PAGE_IS_PRESENT | PAGE_IS_HUGE;
	scan->any = 0;
	while ((count = scan_next(scan)) > 0) {
		for (int i = 0; i < count; i++) {
			size_t at = (scan->ranges[i].start - window->region.start) / page_size();
			size_t end = (scan->ranges[i].end - window->region.start) / page_size();

			for (; at < end; at++)
				if (window->states[at] & PAGE_RESIDENT)
					window->states[at] |= PAGE_HUGE;
		}
	}
	return count;
}

static int fold_window(struct fold *fold, const struct window *window)
{
	for (size_t i = 0, end; i < window->count; i = end) {
		struct region run = {window->region.start + i * page_size(), 0};
		int result;

		for (end = i + 1; end < window->count && window->states[end] == window->states[i]; end++)
			;
		run.end = window->region.start + end * page_size();
		result = window->states[i] ? fold_add(fold, run, window->states[i]) : 0;
		if (result)
			return result;
	}
	return 0;
}

static int walk_window(const struct pages *pages, struct fold *fold, struct window *window, bool ask_mincore)
{
	int result = pagemap_read(pages->pagemap_fd, window->region.start, window->count, window->entries);
	bool found;

	if (result)
		return result;
	found = judge_by_pagemap(window);
	if (ask_mincore)
		result = judge_by_mincore(pages, window, &found);
	if (result || !found)
		return result;
	if (fold->knows_huge)
		result = mark_huge(pages, window);
	return result ? result : fold_window(fold, window);
}

static int walk_by_windows(const struct pages *pages, struct fold *fold, bool ask_mincore)
{
	_cleanup_free_ struct window *window = malloc(sizeof(*window));
	uint64_t step = (ask_mincore ? MINCORE_STEP : PAGEMAP_STEP) * page_size(), at = fold->within.start;
	int result = 0;

	if (!window)
		return -ENOMEM;
	while (!result && at < fold->within.end) {
		window->region.start = at;
		window->region.end = at + min_u64(fold->within.end - at, step);
		window->count = region_bytes(window->region) / page_size();
		result = walk_window(pages, fold, window, ask_mincore);
		at = window->region.end;
	}
	return result;
}

int pages_superpages(const struct pages *pages, struct region region, uint64_t size, bool anonymous,
		     superpage_fn callback, void *context)
{
	struct fold fold = {
		.within = region,
		.size = size,
		.knows_huge = pages->has_scan,
		.callback = callback,
		.context = context,
	};
	int result;

	/* [vsyscall] lies in the kernel's half, where no page of a process is. */
	if (region.start >> 63)
		return 0;
	if (pages->method == PAGES_SCAN)
		result = walk_by_scan(pages, &fold);
	else
		result = walk_by_windows(pages, &fold, pages->method == PAGES_MINCORE && anonymous);
	return result ? result : fold_end(&fold);
}

const char *pages_method_name(enum pages_method method)
{
	static const char *const names[] = {
		[PAGES_AUTO] = "auto",
		[PAGES_SCAN] = "scan",
		[PAGES_PAGEMAP] = "pagemap",
		[PAGES_MINCORE] = "mincore",
	};

	return names[method];
}
