/* SPDX-License-Identifier: MIT */
/* From an address of a space down to the leaves that it shows, with the rights that all levels leave. */
#include "graph/resolve.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/size.h"
#include "graph/mappable.h"
#include "graph/table.h"

void segments_free(struct segment_vec *vec)
{
	free(vec->items);
	*vec = (struct segment_vec){0};
}

static int push_segment(struct segment_vec *vec, struct segment segment)
{
	if (array_reserve(&vec->items, vec->count, &vec->capacity) < 0)
		return UVM_MEM_NO_MEMORY;
	vec->items[vec->count++] = segment;
	return 0;
}

bool leaf_frozen(const struct uvm_mappable *leaf, uint64_t offset)
{
	const struct backing *backing;

	if (leaf->kind == KIND_SHADOW && ((const struct shadow *)leaf)->copied[offset / page_size()] == COPY_SETTLING)
		return true;
	LIST_FOREACH(backing, &leaf->frozen_for, of_leaf) {
		uint64_t in = offset - backing->offset;

		if (offset >= backing->offset && in < region_bytes(backing->at) &&
		    !backing->shadow->copied[(backing->at.start + in) / page_size()])
			return true;
	}
	return false;
}

/* Where the pages that are frozen, or those that are not, end. Pages of a shadow that settle come alone. */
static uint64_t alike_until(const struct uvm_mappable *leaf, struct region range, bool frozen)
{
	uint64_t at = range.start + page_size();

	if (LIST_EMPTY(&leaf->frozen_for))
		return range.end;
	while (at < range.end && leaf_frozen(leaf, at) == frozen)
		at += page_size();
	return at;
}

/* The part of a view that begins with `start` in the range. */
static struct view part_of(struct view view, uint64_t start, uint64_t end)
{
	view.to += start - view.range.start;
	view.range = (struct region){start, end};
	return view;
}

static struct view moved_to(struct view view, uint64_t start)
{
	view.range = region_at(start, region_bytes(view.range));
	return view;
}

/* When a level above copies before it writes, it takes no more than reading below. */
static unsigned int allowed_access(struct view view, unsigned int access)
{
	if (view.copies)
		access = access & UVM_ACCESS_READ ? access | UVM_ACCESS_WRITE : access & ~UVM_ACCESS_WRITE;
	return view.access & access;
}

static struct uvm_mappable *mirror_of(const struct view *view, const struct uvm_mappable *leaf)
{
	for (size_t i = 0; view->shadow && i < view->shadow->mirror_count; i++)
		if (view->shadow->mirrors[i]->mirror_of == leaf)
			return view->shadow->mirrors[i];
	return NULL;
}

static int resolve_shown(struct uvm_mappable *leaf, struct view view, struct segment_vec *out)
{
	unsigned int access = allowed_access(view, leaf->access);

	if (view.copies && access & UVM_ACCESS_WRITE && !mappable_watchable(leaf))
		access &= ~UVM_ACCESS_WRITE;
	for (uint64_t at = view.range.start, next; at < view.range.end; at = next) {
		bool frozen = !view.copies && access & UVM_ACCESS_WRITE && leaf_frozen(leaf, at);
		struct view part;
		int rc;

		next = view.copies || !(access & UVM_ACCESS_WRITE)
			       ? view.range.end
			       : alike_until(leaf, (struct region){at, view.range.end}, frozen);
		part = part_of(view, at, next);
		rc = push_segment(out, (struct segment){
					       .at = {part.to, part.to + region_bytes(part.range)},
					       .leaf = leaf,
					       .offset = at,
					       .access = access,
					       .watched = frozen || (view.copies && access & UVM_ACCESS_WRITE),
				       });
		if (rc < 0)
			return rc;
	}
	return 0;
}

int mirror_show(struct uvm_mappable *mirror, struct region range)
{
	return region_vec_insert(&mirror->shown, range) < 0 ? UVM_MEM_NO_MEMORY : 0;
}

/* A mirror ends where the file did when it was made. */
static int resolve_leaf(struct uvm_mappable *leaf, struct view view, struct segment_vec *out)
{
	struct uvm_mappable *mirror = mirror_of(&view, leaf);
	uint64_t end = mirror ? max_u64(view.range.start, min_u64(mirror->bytes, view.range.end)) : view.range.start;
	int rc = 0;

	if (view.range.start < end)
		rc = mirror_show(mirror, (struct region){view.range.start, end});
	if (rc == 0 && view.range.start < end)
		rc = resolve_shown(mirror, part_of(view, view.range.start, end), out);
	if (rc == 0 && end < view.range.end)
		rc = resolve_shown(leaf, part_of(view, end, view.range.end), out);
	return rc;
}

static uint64_t in_shadow(const struct space_mapping *mapping, uint64_t address)
{
	return mapping->shadow_offset + address - mapping->at.start;
}

static int resolve_backing(const struct space_mapping *mapping, const struct backing *backing, struct view view,
			   struct segment_vec *out)
{
	uint64_t in = in_shadow(mapping, view.range.start) - backing->at.start;

	if (!backing->linked)
		return 0;
	view.access = allowed_access(view, backing->access);
	return resolve_leaf(backing->leaf, moved_to(view, backing->offset + in), out);
}

static int resolve_below(struct space_mapping *mapping, const struct backing *backing, struct view view,
			 struct segment_vec *out)
{
	view.shadow = mapping->shadow ? mapping->shadow : view.shadow;
	if (backing)
		return resolve_backing(mapping, backing, view, out);
	return resolve(mapping->mappable, moved_to(view, mapping->offset + view.range.start - mapping->at.start), out);
}

/* Rights that a snapshot did not have do not come with a copy, but the one to write, which is what copies are for. */
static int resolve_copies(struct space_mapping *mapping, const struct backing *backing, struct view view,
			  struct segment_vec *out)
{
	const uint8_t *copied = mapping->shadow->copied + in_shadow(mapping, view.range.start) / page_size();

	for (uint64_t at = view.range.start, next; at < view.range.end; at = next, copied++) {
		struct view part;
		int rc;

		for (next = at + page_size(); next < view.range.end && copied[1] == copied[0]; next += page_size())
			copied++;
		part = part_of(view, at, next);
		if (*copied) {
			part.access &= backing ? backing->access | UVM_ACCESS_WRITE : part.access;
			rc = resolve_leaf(&mapping->shadow->leaf, moved_to(part, in_shadow(mapping, at)), out);
		} else {
			part.copies = true;
			rc = resolve_below(mapping, backing, part, out);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

typedef int (*part_resolver)(struct space_mapping *, const struct backing *, struct view, struct segment_vec *);

/* The parts of a view of a snapshot, each with what it froze there. */
static int resolve_frozen(struct space_mapping *mapping, struct view view, part_resolver resolver,
			  struct segment_vec *out)
{
	const struct shadow *shadow = mapping->shadow;
	uint64_t shift = mapping->at.start - mapping->shadow_offset;

	for (size_t i = 0; i < shadow->backing_count; i++) {
		const struct backing *backing = &shadow->backing[i];
		struct region at = {backing->at.start + shift, backing->at.end + shift};
		struct region common = region_intersect(at, view.range);
		int rc = 0;

		if (region_bytes(common))
			rc = resolver(mapping, backing, part_of(view, common.start, common.end), out);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int resolve_source(struct space_mapping *mapping, struct view view, struct segment_vec *out)
{
	if (mapping->shadow && mapping->shadow->snapshot)
		return resolve_frozen(mapping, view, resolve_below, out);
	return resolve_below(mapping, NULL, view, out);
}

int resolve_mapping(struct space_mapping *mapping, struct view view, struct segment_vec *out)
{
	if (!mapping->shadow)
		return resolve_below(mapping, NULL, view, out);
	if (!mapping->shadow->snapshot)
		return resolve_copies(mapping, NULL, view, out);
	return resolve_frozen(mapping, view, resolve_copies, out);
}

int resolve(struct uvm_mappable *mappable, struct view view, struct segment_vec *out)
{
	const struct uvm_space *space = (struct uvm_space *)mappable;

	if (mappable->kind != KIND_SPACE)
		return resolve_leaf(mappable, view, out);
	for (size_t i = table_index(space, view.range.start);
	     i < space->count && space->table[i]->at.start < view.range.end; i++) {
		struct space_mapping *mapping = space->table[i];
		struct region common = region_intersect(mapping->at, view.range);
		struct view part = part_of(view, common.start, common.end);
		int rc;

		part.access = allowed_access(view, (mapping->flags & UVM_MAP_ACCESS_MASK) / UVM_MAP_READ);
		rc = resolve_mapping(mapping, part, out);
		if (rc < 0)
			return rc;
	}
	return 0;
}
