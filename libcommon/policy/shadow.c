/* SPDX-License-Identifier: MIT */
/* What is remembered of single pages, in blocks of a superpage. */
#include "policy/shadow.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

static size_t pages_in_block(void)
{
	return SUPERPAGE / page_size();
}

static size_t page_in_block(uint64_t address)
{
	return address % SUPERPAGE / page_size();
}

void shadows_free(struct shadows *shadows)
{
	for (size_t i = 0; i < shadows->count; i++)
		free(shadows->blocks[i].pages);
	free(shadows->blocks);
	*shadows = (struct shadows){0};
}

static bool block_before(const void *block, const void *start)
{
	return ((const struct shadow_block *)block)->start < *(const uint64_t *)start;
}

/* The place of a superpage among the blocks: its own, or that of the next one. */
static size_t block_place(const struct shadows *shadows, uint64_t start)
{
	return first_not_before(shadows->blocks, shadows->count, sizeof(*shadows->blocks), block_before, &start);
}

/* The pages of the superpage around an address, or NULL. */
static struct page_shadow *find_block(const struct shadows *shadows, uint64_t address)
{
	uint64_t start = round_down(address, SUPERPAGE);
	size_t at = block_place(shadows, start);

	return at < shadows->count && shadows->blocks[at].start == start ? shadows->blocks[at].pages : NULL;
}

struct page_shadow *shadow_find(const struct shadows *shadows, uint64_t address)
{
	struct page_shadow *pages = find_block(shadows, address);

	return pages ? pages + page_in_block(address) : NULL;
}

uint64_t shadow_next(const struct shadows *shadows, uint64_t address)
{
	size_t at = block_place(shadows, address);

	return at < shadows->count ? shadows->blocks[at].start : UINT64_MAX;
}

static struct page_shadow *add_block(struct shadows *shadows, uint64_t start)
{
	size_t at = block_place(shadows, start);
	struct page_shadow *pages = calloc(pages_in_block(), sizeof(*pages));

	if (!pages || array_reserve(&shadows->blocks, shadows->count, &shadows->size) < 0) {
		free(pages);
		return NULL;
	}
	memmove(shadows->blocks + at + 1, shadows->blocks + at, (shadows->count++ - at) * sizeof(*shadows->blocks));
	shadows->blocks[at] = (struct shadow_block){start, pages};
	return pages;
}

struct page_shadow *shadow_add(struct shadows *shadows, uint64_t address)
{
	struct page_shadow *pages = find_block(shadows, address);

	if (!pages)
		pages = add_block(shadows, round_down(address, SUPERPAGE));
	return pages ? pages + page_in_block(address) : NULL;
}

/* Returns whether anything is left of a block. */
static bool forget_pages(struct page_shadow *pages, shadow_fn is_past, void *context)
{
	bool any = false;

	for (size_t i = 0; i < pages_in_block(); i++) {
		if (pages[i].state != SHADOW_NONE && is_past(context, &pages[i]))
			pages[i] = (struct page_shadow){0};
		any |= pages[i].state != SHADOW_NONE;
	}
	return any;
}

void shadows_forget(struct shadows *shadows, shadow_fn is_past, void *context)
{
	size_t kept = 0;

	for (size_t i = 0; i < shadows->count; i++) {
		if (forget_pages(shadows->blocks[i].pages, is_past, context))
			shadows->blocks[kept++] = shadows->blocks[i];
		else
			free(shadows->blocks[i].pages);
	}
	shadows->count = kept;
}
