/* SPDX-License-Identifier: MIT */
/* Half-open address regions: parsing, sorting, joining, intersecting. */
#include "base/region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/size.h"

struct region region_intersect(struct region a, struct region b)
{
	struct region common = {max_u64(a.start, b.start), min_u64(a.end, b.end)};

	if (common.end < common.start)
		common.end = common.start;
	return common;
}

int region_from_inclusive(uint64_t first, uint64_t last, struct region *region)
{
	if (last < first || last == UINT64_MAX)
		return -EINVAL;
	*region = (struct region){first, last + 1};
	return 0;
}

int region_parse(const char *text, struct region *region)
{
	const char *dash = strpbrk(text, "-+");
	uint64_t bytes;
	char start_text[ADDRESS_TEXT];
	struct region parsed;

	if (!dash || (size_t)(dash - text) >= sizeof(start_text))
		return -EINVAL;
	memcpy(start_text, text, (size_t)(dash - text));
	start_text[dash - text] = '\0';
	if (address_parse(start_text, &parsed.start))
		return -EINVAL;
	if (*dash == '+' ? size_parse(dash + 1, &bytes) || __builtin_add_overflow(parsed.start, bytes, &parsed.end)
			 : address_parse(dash + 1, &parsed.end))
		return -EINVAL;
	if (parsed.end <= parsed.start)
		return -EINVAL;
	*region = parsed;
	return 0;
}

int region_vec_push(struct region_vec *vec, struct region region)
{
	int rc = array_reserve(&vec->items, vec->count, &vec->capacity);

	if (rc == 0)
		vec->items[vec->count++] = region;
	return rc;
}

int region_vec_append(struct region_vec *vec, struct region region)
{
	struct region *last = vec->count ? &vec->items[vec->count - 1] : NULL;

	if (!last || last->end != region.start)
		return region_vec_push(vec, region);
	last->end = region.end;
	return 0;
}

void region_vec_free(struct region_vec *vec)
{
	free(vec->items);
	*vec = (struct region_vec){0};
}

static int by_start(const void *left, const void *right)
{
	const struct region *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->end < b->end ? -1 : a->end > b->end;
}

void region_vec_sort(struct region_vec *vec)
{
	if (vec->count > 1)
		qsort(vec->items, vec->count, sizeof(*vec->items), by_start);
}

void region_vec_normalize(struct region_vec *vec)
{
	size_t kept = 0;

	region_vec_sort(vec);
	for (size_t i = 0; i < vec->count; i++) {
		struct region r = vec->items[i];

		if (r.end <= r.start)
			continue;
		if (kept && r.start <= vec->items[kept - 1].end)
			vec->items[kept - 1].end = max_u64(vec->items[kept - 1].end, r.end);
		else
			vec->items[kept++] = r;
	}
	vec->count = kept;
}

/*
 * How many regions end at or before an address (below it, with `touching`): the index of the first one that does not.
 */
static size_t count_before(const struct region_vec *vec, uint64_t address, bool touching)
{
	size_t low = 0, high = vec->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (touching ? vec->items[middle].end < address : vec->items[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Replaces items [first, last) by `count` others. */
static int splice_items(struct region_vec *vec, size_t first, size_t last, const struct region *others, size_t count)
{
	size_t behind = vec->count - last;

	if (first + count > last && array_reserve(&vec->items, vec->count, &vec->capacity)) /* one more at most */
		return -ENOMEM;
	memmove(vec->items + first + count, vec->items + last, behind * sizeof(*vec->items));
	memcpy(vec->items + first, others, count * sizeof(*others));
	vec->count = first + count + behind;
	return 0;
}

const struct region *region_vec_find(const struct region_vec *vec, uint64_t address)
{
	size_t at = count_before(vec, address, false);

	return at < vec->count && vec->items[at].start <= address ? &vec->items[at] : NULL;
}

bool region_vec_overlaps(const struct region_vec *vec, struct region region)
{
	size_t at = count_before(vec, region.start, false);

	return at < vec->count && vec->items[at].start < region.end;
}

int region_vec_insert(struct region_vec *vec, struct region region)
{
	size_t first = count_before(vec, region.start, true);
	size_t last = first;

	if (region.end <= region.start)
		return 0;
	for (; last < vec->count && vec->items[last].start <= region.end; last++) {
		region.start = min_u64(region.start, vec->items[last].start);
		region.end = max_u64(region.end, vec->items[last].end);
	}
	return splice_items(vec, first, last, &region, 1);
}

int region_vec_remove(struct region_vec *vec, struct region region)
{
	size_t first = count_before(vec, region.start, false);
	size_t last = first;
	struct region left[2];
	size_t count = 0;

	while (last < vec->count && vec->items[last].start < region.end)
		last++;
	if (first == last || region.end <= region.start)
		return 0;
	if (vec->items[first].start < region.start)
		left[count++] = (struct region){vec->items[first].start, region.start};
	if (vec->items[last - 1].end > region.end)
		left[count++] = (struct region){region.end, vec->items[last - 1].end};
	return splice_items(vec, first, last, left, count);
}

ptrdiff_t region_vec_overlap(const struct region_vec *vec)
{
	for (size_t i = 0; i + 1 < vec->count; i++)
		if (region_overlaps(vec->items[i], vec->items[i + 1]))
			return (ptrdiff_t)i;
	return -1;
}

int region_vec_intersect(const struct region_vec *of, const struct region_vec *within, struct region_vec *out)
{
	size_t i = 0, j = 0;

	while (i < of->count && j < within->count) {
		struct region common = region_intersect(of->items[i], within->items[j]);

		if (region_bytes(common) && region_vec_push(out, common))
			return -ENOMEM;
		if (of->items[i].end <= within->items[j].end)
			i++;
		else
			j++;
	}
	return 0;
}

int region_vec_gaps(const struct region_vec *vec, struct region within, struct region_vec *out)
{
	size_t i = count_before(vec, within.start, false);

	for (; i < vec->count && vec->items[i].start < within.end; i++) {
		struct region gap = {within.start, vec->items[i].start};

		if (gap.start < gap.end && region_vec_push(out, gap))
			return -ENOMEM;
		within.start = vec->items[i].end;
	}
	return within.start < within.end ? region_vec_push(out, within) : 0;
}
