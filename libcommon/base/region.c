/* Half-open address regions: parsing, sorting, joining, intersecting. */
#include "base/region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

struct region region_intersect(struct region a, struct region b)
{
	struct region common = {max_u64(a.start, b.start), min_u64(a.end, b.end)};

	if (common.end < common.start)
		common.end = common.start;
	return common;
}

int region_parse(const char *text, struct region *region)
{
	const char *dash = strchr(text, '-');
	char start_text[ADDRESS_TEXT];
	struct region parsed;

	if (!dash || (size_t)(dash - text) >= sizeof(start_text))
		return -EINVAL;
	memcpy(start_text, text, (size_t)(dash - text));
	start_text[dash - text] = '\0';
	if (address_parse(start_text, &parsed.start) || address_parse(dash + 1, &parsed.end))
		return -EINVAL;
	if (parsed.end <= parsed.start)
		return -EINVAL;
	*region = parsed;
	return 0;
}

int region_vec_push(struct region_vec *vec, struct region region)
{
	if (vec->count == vec->capacity) {
		size_t capacity = vec->capacity ? vec->capacity * 2 : 16;
		struct region *items = reallocarray(vec->items, capacity, sizeof(*items));

		if (!items)
			return -ENOMEM;
		vec->items = items;
		vec->capacity = capacity;
	}
	vec->items[vec->count++] = region;
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
