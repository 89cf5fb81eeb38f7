/* SPDX-License-Identifier: MIT */
/*
 * Copy on write. A mapping that copies has a shadow: memory in which its copies lie, page by page. The others see them
 * too, because a copy is mapped wherever the page was. A snapshot remembers the leaves that it showed when it was made;
 * who writes to them first leaves it a copy.
 */
#include "space/shadow.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "graph/graph.h"
#include "graph/mappable.h"
#include "graph/resolve.h"
#include "space/shadow_copy.h"
#include "space/shadow_file.h"
#include "space/views.h"
#include "space/window.h"

#define PARTS_MAX 8192 /* of all shadows: each may make two mappings in every window, and a process can have 65530 */

static LIST_HEAD(, shadow) shadows = LIST_HEAD_INITIALIZER(shadows);
static unsigned int all_parts;

static void free_shadow(struct uvm_mappable *mappable)
{
	struct shadow *shadow = (struct shadow *)mappable;

	for (size_t i = 0; i < shadow->backing_count; i++) {
		if (shadow->backing[i].linked)
			LIST_REMOVE(&shadow->backing[i], of_leaf);
		mappable_unuse(shadow->backing[i].leaf);
	}
	for (size_t i = 0; i < shadow->mirror_count; i++)
		mappable_unuse(shadow->mirrors[i]);
	LIST_REMOVE(shadow, all);
	all_parts -= shadow->parts;
	shadow_file_drop(shadow);
	free(shadow->mirrors);
	free(shadow->backing);
	free(shadow->copied);
	free(shadow);
}

static const struct mappable_ops shadow_ops = {.free = free_shadow};

static struct shadow *shadow_new(uint64_t bytes, bool snapshot)
{
	struct shadow *shadow = calloc(1, sizeof(*shadow));

	if (!shadow)
		return NULL;
	mappable_init(&shadow->leaf, KIND_SHADOW, &shadow_ops, bytes);
	LIST_INIT(&shadow->owners);
	LIST_INSERT_HEAD(&shadows, shadow, all);
	shadow->snapshot = snapshot;
	shadow->copied = calloc(bytes / page_size(), 1);
	if (shadow->copied && shadow_file_take(shadow) == 0)
		return shadow;
	free_shadow(&shadow->leaf);
	return NULL;
}

/*
 * What cannot be watched, and has no mirror, is copied now. The shadow's offsets are the addresses of the segment.
 * There is nothing behind the end of a mirror.
 */
static int freeze_segment(struct shadow *shadow, const struct segment *segment)
{
	struct uvm_mappable *mirror = mappable_watchable(segment->leaf) ? NULL : mappable_mirror(segment->leaf);
	struct uvm_mappable *leaf = mirror ? mirror : mappable_use(segment->leaf);
	struct backing *backing = &shadow->backing[shadow->backing_count++];

	*backing = (struct backing){
		.shadow = shadow,
		.at = segment->at,
		.leaf = leaf,
		.offset = segment->offset,
		.access = segment->access,
		.linked = mappable_watchable(leaf) && segment->offset < leaf->bytes,
	};
	if (!backing->linked)
		return shadow_copy_segment(shadow, segment->at.start, segment, COPY_MADE);
	LIST_INSERT_HEAD(&leaf->frozen_for, backing, of_leaf);
	if (!mirror)
		return 0;
	backing->at.end = min_u64(segment->at.end, segment->at.start + mirror->bytes - segment->offset);
	return mirror_show(mirror, region_at(segment->offset, region_bytes(backing->at)));
}

static int freeze_segments(struct shadow *shadow, const struct segment_vec *frozen)
{
	int rc = 0;

	shadow->backing = calloc(frozen->count ? frozen->count : 1, sizeof(*shadow->backing));
	if (!shadow->backing)
		return UVM_MEM_NO_MEMORY;
	for (size_t i = 0; rc == 0 && i < frozen->count; i++)
		if (frozen->items[i].access & UVM_ACCESS_READ)
			rc = freeze_segment(shadow, &frozen->items[i]);
	return rc;
}

static int attach_shadow(struct space_mapping *mapping, bool snapshot)
{
	struct shadow *shadow = shadow_new(region_bytes(mapping->at), snapshot);

	if (!shadow)
		return UVM_MEM_NO_MEMORY;
	mapping->shadow = shadow;
	mapping->shadow_offset = 0;
	return 0;
}

int shadow_attach(struct space_mapping *mapping)
{
	int rc = attach_shadow(mapping, false);

	return rc ? rc : shadow_copy_unwatchable(mapping, mapping->at);
}

int shadow_attach_snapshot(struct space_mapping *mapping, struct space_mapping *of)
{
	_cleanup_segments_ struct segment_vec frozen = {0};
	int rc = resolve_mapping(of, (struct view){.range = of->at, .access = ALL_ACCESS}, &frozen);

	if (rc == 0)
		rc = attach_shadow(mapping, true);
	return rc ? rc : freeze_segments(mapping->shadow, &frozen);
}

int shadow_freeze(struct shadow *shadow)
{
	int first = 0;

	for (size_t i = 0; i < shadow->backing_count; i++) {
		const struct backing *backing = &shadow->backing[i];
		struct region range = region_at(backing->offset, region_bytes(backing->at));
		int rc = backing->leaf->mirror_of ? 0 : views_of_writers(backing->leaf, range, window_try);

		first = first ? first : rc;
	}
	return first;
}

/* With everything copied nothing is frozen. */
void shadow_discard(struct shadow *shadow)
{
	if (!shadow)
		return;
	memset(shadow->copied, COPY_MADE, shadow->leaf.bytes / page_size());
	shadow_freeze(shadow);
	mappable_put(&shadow->leaf);
}

static void count_part(struct shadow *shadow, uint64_t offset)
{
	uint64_t i = offset / page_size();
	bool before = i && shadow->copied[i - 1];
	bool behind = offset + page_size() < shadow->leaf.bytes && shadow->copied[i + 1];

	if (before || behind)
		return;
	shadow->parts++;
	all_parts++;
}

/*
 * New copies are shown everywhere before anybody can write to them: what one view writes all others see at once.
 * Writers are not woken before that; they would only come again, and find another page to copy if one was mapped
 * there meanwhile.
 */
static int resolve_copies(struct shadow *shadow, struct region changed)
{
	int rc = views_of_shadow(shadow, changed, window_remap), permitted;

	for (uint64_t i = changed.start / page_size(); i < changed.end / page_size(); i++)
		if (shadow->copied[i] == COPY_SETTLING)
			shadow->copied[i] = COPY_MADE;
	permitted = views_of_shadow(shadow, changed, window_permit);
	return rc ? rc : permitted;
}

static int copy_rest_of(struct space_mapping *mapping)
{
	_cleanup_segments_ struct segment_vec vec = {0};
	int rc = resolve_source(
		mapping, (struct view){.range = mapping->at, .to = mapping->at.start, .access = ALL_ACCESS}, &vec);

	for (size_t i = 0; rc == 0 && i < vec.count; i++)
		rc = shadow_copy_segment(mapping->shadow,
					 mapping->shadow_offset + vec.items[i].at.start - mapping->at.start,
					 &vec.items[i], COPY_SETTLING);
	return rc;
}

/* With too many parts, the shadow that has most is copied at once. What cannot be copied stays as it is. */
static void limit_parts(void)
{
	struct shadow *shadow, *most = LIST_FIRST(&shadows);
	struct space_mapping *mapping;
	int rc = 0;

	if (all_parts <= PARTS_MAX)
		return;
	LIST_FOREACH(shadow, &shadows, all)
		if (shadow->parts > most->parts)
			most = shadow;
	LIST_FOREACH(mapping, &most->owners, owner)
		rc = rc ? rc : copy_rest_of(mapping);
	all_parts -= most->parts;
	most->parts = 0;
	resolve_copies(most, (struct region){0, most->leaf.bytes});
}

int shadow_copy_page(struct space_mapping *mapping, uint64_t offset)
{
	_cleanup_segments_ struct segment_vec vec = {0};
	struct shadow *shadow = mapping->shadow;
	struct region at = region_at(offset - mapping->shadow_offset + mapping->at.start, page_size());
	int rc = resolve_source(mapping, (struct view){.range = at, .to = at.start, .access = ALL_ACCESS}, &vec);

	if (rc == 0 && vec.count)
		rc = shadow_copy_segment(shadow, offset, vec.items, COPY_SETTLING);
	if (rc < 0)
		return rc;
	count_part(shadow, offset);
	rc = resolve_copies(shadow, region_at(offset, page_size()));
	limit_parts();
	return rc;
}

/* The snapshots are shown their copies before the leaf can change. */
int leaf_thaw(struct uvm_mappable *leaf, uint64_t offset)
{
	struct backing *backing;

	LIST_FOREACH(backing, &leaf->frozen_for, of_leaf) {
		uint64_t to = offset - backing->offset + backing->at.start;
		int rc;

		if (offset < backing->offset || to >= backing->at.end || backing->shadow->copied[to / page_size()])
			continue;
		rc = shadow_copy(backing->shadow, to, leaf, offset, page_size(), COPY_SETTLING);
		if (rc == 0)
			rc = resolve_copies(backing->shadow, region_at(to, page_size()));
		if (rc < 0)
			return rc;
		count_part(backing->shadow, to);
		limit_parts();
	}
	return views_of(leaf, region_at(offset, page_size()), window_permit);
}
