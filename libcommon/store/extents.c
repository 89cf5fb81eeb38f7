/* SPDX-License-Identifier: MIT */
/* Free extents in two treaps over one node: by offset, to join neighbours, and by length, for best fit. */
#include "store/extents.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/region.h"

enum order {
	BY_OFFSET,
	BY_LENGTH, /* equal lengths by offset */
	ORDERS,
};

enum side {
	LEFT,
	RIGHT,
	SIDES,
};

struct extent {
	uint64_t offset;
	uint64_t length;
	uint64_t priority;
	struct extent *child[ORDERS][SIDES];
};

struct extents {
	struct extent *root[ORDERS];
	struct region_vec all; /* free or taken */
	uint64_t available;
	uint64_t random;
};

static uint64_t end_of(const struct extent *extent)
{
	return extent->offset + extent->length;
}

static bool comes_before(enum order order, const struct extent *a, const struct extent *b)
{
	if (order == BY_LENGTH && a->length != b->length)
		return a->length < b->length;
	return a->offset < b->offset;
}

static enum side side_of(enum order order, const struct extent *parent, const struct extent *extent)
{
	return comes_before(order, parent, extent) ? RIGHT : LEFT;
}

static uint64_t next_random(struct extents *extents)
{
	extents->random ^= extents->random << 13;
	extents->random ^= extents->random >> 7;
	extents->random ^= extents->random << 17;
	return extents->random;
}

static void link_extent(struct extents *extents, enum order order, struct extent *extent)
{
	struct extent **link = &extents->root[order];
	struct extent **less = &extent->child[order][LEFT];
	struct extent **more = &extent->child[order][RIGHT];
	struct extent *rest;

	while (*link && (*link)->priority >= extent->priority)
		link = &(*link)->child[order][side_of(order, *link, extent)];

	rest = *link;
	*link = extent;
	while (rest) {
		if (comes_before(order, rest, extent)) {
			*less = rest;
			less = &rest->child[order][RIGHT];
			rest = *less;
		} else {
			*more = rest;
			more = &rest->child[order][LEFT];
			rest = *more;
		}
	}
	*less = NULL;
	*more = NULL;
}

static void unlink_extent(struct extents *extents, enum order order, const struct extent *extent)
{
	struct extent *left = extent->child[order][LEFT];
	struct extent *right = extent->child[order][RIGHT];
	struct extent **link = &extents->root[order];

	while (*link != extent)
		link = &(*link)->child[order][side_of(order, *link, extent)];

	while (left && right) {
		if (left->priority >= right->priority) {
			*link = left;
			link = &left->child[order][RIGHT];
			left = *link;
		} else {
			*link = right;
			link = &right->child[order][LEFT];
			right = *link;
		}
	}
	*link = left ? left : right;
}

static int add_extent(struct extents *extents, uint64_t offset, uint64_t length)
{
	struct extent *extent = malloc(sizeof(*extent));

	if (!extent)
		return -ENOMEM;
	extent->offset = offset;
	extent->length = length;
	extent->priority = next_random(extents);
	link_extent(extents, BY_OFFSET, extent);
	link_extent(extents, BY_LENGTH, extent);
	return 0;
}

static void drop_extent(struct extents *extents, struct extent *extent)
{
	unlink_extent(extents, BY_OFFSET, extent);
	unlink_extent(extents, BY_LENGTH, extent);
	free(extent);
}

/* The new bounds never reach past a neighbour, so the order by offset holds as it is. */
static void resize_extent(struct extents *extents, struct extent *extent, uint64_t offset, uint64_t length)
{
	unlink_extent(extents, BY_LENGTH, extent);
	extent->offset = offset;
	extent->length = length;
	link_extent(extents, BY_LENGTH, extent);
}

/* The last extent that begins at or before offset and the first that begins after it. */
static void find_adjacent(const struct extents *extents, uint64_t offset, struct extent **previous,
			  struct extent **next)
{
	struct extent *extent = extents->root[BY_OFFSET];

	*previous = NULL;
	*next = NULL;
	while (extent) {
		if (extent->offset <= offset) {
			*previous = extent;
			extent = extent->child[BY_OFFSET][RIGHT];
		} else {
			*next = extent;
			extent = extent->child[BY_OFFSET][LEFT];
		}
	}
}

static bool is_inside(const struct extents *extents, uint64_t offset, uint64_t length)
{
	const struct region *region = region_vec_find(&extents->all, offset);

	return length && region && length <= region->end - offset;
}

int extents_new(struct extents **extents, uint64_t size)
{
	struct extents *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->random = 0x9e3779b97f4a7c15;
	if (size && extents_add(new, 0, size)) {
		extents_free(new);
		return -ENOMEM;
	}
	*extents = new;
	return 0;
}

static void free_tree(struct extent *extent)
{
	if (!extent)
		return;
	free_tree(extent->child[BY_OFFSET][LEFT]);
	free_tree(extent->child[BY_OFFSET][RIGHT]);
	free(extent);
}

void extents_free(struct extents *extents)
{
	if (!extents)
		return;
	free_tree(extents->root[BY_OFFSET]);
	region_vec_free(&extents->all);
	free(extents);
}

int extents_take(struct extents *extents, uint64_t length, uint64_t *offset)
{
	struct extent *extent = extents->root[BY_LENGTH];
	struct extent *best = NULL;

	if (!length)
		return -EINVAL;
	while (extent) {
		if (extent->length >= length)
			best = extent;
		extent = extent->child[BY_LENGTH][extent->length >= length ? LEFT : RIGHT];
	}
	if (!best)
		return -ENOSPC;

	*offset = best->offset;
	extents->available -= length;
	if (best->length == length)
		drop_extent(extents, best);
	else
		resize_extent(extents, best, best->offset + length, best->length - length);
	return 0;
}

int extents_take_at(struct extents *extents, uint64_t offset, uint64_t length)
{
	struct extent *extent, *next;
	uint64_t end = offset + length;
	uint64_t head, tail;

	if (!is_inside(extents, offset, length))
		return -EINVAL;
	find_adjacent(extents, offset, &extent, &next);
	if (!extent || end_of(extent) < end)
		return -EBUSY;

	head = offset - extent->offset;
	tail = end_of(extent) - end;
	if (head && tail) {
		uint64_t whole = extent->length;

		/* Shrunk first: the order by offset must hold when the tail comes in. */
		resize_extent(extents, extent, extent->offset, head);
		if (add_extent(extents, end, tail)) {
			resize_extent(extents, extent, extent->offset, whole);
			return -ENOMEM;
		}
	} else if (head) {
		resize_extent(extents, extent, extent->offset, head);
	} else if (tail) {
		resize_extent(extents, extent, end, tail);
	} else {
		drop_extent(extents, extent);
	}
	extents->available -= length;
	return 0;
}

static int release_range(struct extents *extents, uint64_t offset, uint64_t length, uint64_t *free_offset,
			 uint64_t *free_length)
{
	struct extent *previous, *next;
	uint64_t start = offset;
	uint64_t end = offset + length;

	find_adjacent(extents, offset, &previous, &next);
	if ((previous && end_of(previous) > offset) || (next && next->offset < end))
		return -EINVAL;

	if (previous && end_of(previous) == offset)
		start = previous->offset;
	else
		previous = NULL;
	if (next && next->offset == end)
		end = end_of(next);
	else
		next = NULL;

	if (!previous && !next && add_extent(extents, start, end - start))
		return -ENOMEM;
	if (previous && next)
		drop_extent(extents, next);
	if (previous || next)
		resize_extent(extents, previous ? previous : next, start, end - start);

	extents->available += length;
	if (free_offset)
		*free_offset = start;
	if (free_length)
		*free_length = end - start;
	return 0;
}

int extents_give(struct extents *extents, uint64_t offset, uint64_t length, uint64_t *free_offset,
		 uint64_t *free_length)
{
	if (!is_inside(extents, offset, length))
		return -EINVAL;
	return release_range(extents, offset, length, free_offset, free_length);
}

int extents_add(struct extents *extents, uint64_t offset, uint64_t length)
{
	struct region region = region_at(offset, length);
	int rc;

	if (region.end <= region.start)
		return -EINVAL;
	if (region_vec_overlaps(&extents->all, region))
		return -EEXIST;
	rc = region_vec_insert(&extents->all, region);
	if (rc == 0) {
		rc = release_range(extents, offset, length, NULL, NULL);
		if (rc < 0)
			region_vec_remove(&extents->all, region);
	}
	return rc;
}

int extents_remove(struct extents *extents, uint64_t offset, uint64_t length)
{
	int rc = extents_take_at(extents, offset, length);

	if (rc == 0) {
		rc = region_vec_remove(&extents->all, region_at(offset, length));
		if (rc < 0)
			release_range(extents, offset, length, NULL, NULL);
	}
	return rc;
}

uint64_t extents_available(const struct extents *extents)
{
	return extents->available;
}
