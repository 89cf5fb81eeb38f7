/* SPDX-License-Identifier: MIT */
/*
 * AddrSpace: changing what is mapped. A change is seen by all levels above when the call returns, or it has not
 * happened.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "graph/graph.h"
#include "graph/mappable.h"
#include "graph/table.h"
#include "space/shadow.h"
#include "space/space.h"
#include "space/views.h"
#include "space/window.h"

/* Each space is looked at once, on however many ways it is found. */
static bool search_below(struct uvm_mappable *mappable, const struct uvm_space *space, uint64_t number)
{
	struct uvm_space *below = (struct uvm_space *)mappable;

	if (mappable->kind != KIND_SPACE || below->searched == number)
		return false;
	if (below == space)
		return true;
	below->searched = number;
	for (size_t i = 0; i < below->count; i++)
		if (search_below(below->table[i]->mappable, space, number))
			return true;
	return false;
}

/* Whether the space can be reached from there: it would show itself. */
static bool reaches_space(struct uvm_mappable *mappable, const struct uvm_space *space)
{
	static uint64_t searches;

	return search_below(mappable, space, ++searches);
}

static bool is_free(const struct uvm_space *space, struct region at)
{
	size_t i = table_index(space, at.start);

	return i == space->count || space->table[i]->at.start >= at.end;
}

/* The lowest place in the window that is large enough. */
static int find_free(const struct uvm_space *space, uint64_t bytes, struct region *at)
{
	uint64_t start = space->window.start;

	for (size_t i = 0; i < space->count && space->table[i]->at.start - start < bytes; i++)
		start = space->table[i]->at.end;
	if (space->window.end - start < bytes)
		return UVM_MEM_NO_SPACE;
	*at = region_at(start, bytes);
	return 0;
}

static int choose_place(const struct uvm_space *space, uint64_t start, uint64_t bytes, unsigned int flags,
			struct region *at)
{
	bool fixed = flags & UVM_MAP_FIXED || !region_bytes(space->window);
	int rc = region_in_space(space, (struct uvm_region){start, start + bytes - 1}, at);

	if (rc == 0 && (is_free(space, *at) || (fixed && flags & UVM_MAP_REPLACE)))
		return 0;
	if (fixed)
		return rc ? rc : UVM_MEM_REGION_OCCUPIED;
	if (start != UVM_UNSPECIFIED_START && start & (page_size() - 1))
		return UVM_MEM_INVALID_ARGUMENT;
	return find_free(space, bytes, at);
}

/* Puts `mapping` (NULL: nothing) into a region, or leaves everything as it was. */
static int change_region(struct uvm_space *space, struct region at, struct space_mapping *mapping)
{
	size_t count = space->count + 2; /* as many as there may be after the cut */
	_cleanup_free_ struct space_mapping **old = calloc(count, sizeof(struct space_mapping *));
	int rc = old ? table_cut(space, at) : UVM_MEM_NO_MEMORY;

	if (rc < 0)
		return rc;
	table_swap(space, at, mapping, old);
	rc = views_show(space, at, window_try);
	if (rc < 0) {
		table_swap(space, at, NULL, NULL);
		for (size_t i = 0; i < count && old[i]; i++)
			table_insert(space, old[i]);
		views_show(space, at, window_show);
		return rc;
	}
	for (size_t i = 0; i < count && old[i]; i++)
		mapping_free(old[i]);
	return 0;
}

static int make_copying(struct space_mapping *mapping, unsigned int flags)
{
	int rc;

	if (!(flags & UVM_MAP_COPY_ON_WRITE))
		return 0;
	if (!(flags & UVM_MAP_SNAPSHOT))
		return shadow_attach(mapping);
	rc = shadow_attach_snapshot(mapping, mapping);
	return rc ? rc : shadow_freeze(mapping->shadow);
}

/* Back to what it was before make_copying. */
static void stop_copying(struct space_mapping *mapping)
{
	struct shadow *shadow = mapping->shadow;

	mapping->shadow = NULL;
	shadow_discard(shadow);
}

static int map_at(struct uvm_space *space, struct region at, struct uvm_mappable *mappable, uint64_t offset,
		  unsigned int flags)
{
	struct space_mapping *mapping = mapping_new(space, at, mappable, offset, flags);
	int rc;

	if (!mapping)
		return UVM_MEM_NO_MEMORY;
	rc = make_copying(mapping, flags);
	if (rc == 0)
		rc = change_region(space, at, mapping);
	if (rc < 0) {
		stop_copying(mapping);
		mapping_free(mapping);
	}
	return rc;
}

static int map_region(struct uvm_space *space, struct uvm_mappable *mappable, struct uvm_region region, uint64_t *start,
		      unsigned int flags)
{
	struct region from, at;
	int rc = region_of_pages(region, &from);

	if (rc == 0 && (!map_flags_known(flags) || reaches_space(mappable, space)))
		rc = UVM_MEM_INVALID_ARGUMENT;
	if (rc == 0 && !mappable_usable(mappable))
		rc = UVM_MEM_INVALID_STATE;
	if (rc == 0 && from.end > mappable->bytes)
		rc = UVM_MEM_INVALID_ARGUMENT;
	if (rc == 0)
		rc = choose_place(space, *start, region_bytes(from), flags, &at);
	if (rc == 0)
		rc = map_at(space, at, mappable, from.start, flags);
	if (rc == 0)
		*start = at.start;
	return rc;
}

int uvm_space_map(struct uvm_space *space, struct uvm_mappable *mappable, struct uvm_region region, uint64_t *start,
		  unsigned int flags)
{
	GRAPH_LOCKED;

	return map_region(space, mappable, region, start, flags);
}

int uvm_space_unmap(struct uvm_space *space, struct uvm_region region)
{
	GRAPH_LOCKED;
	struct region at;
	int rc = region_in_space(space, region, &at);

	return rc == 0 ? change_region(space, at, NULL) : rc;
}

static bool is_covered(const struct uvm_space *space, struct region at)
{
	uint64_t covered = at.start;

	for (size_t i = table_index(space, at.start); i < space->count && covered < at.end; i++) {
		if (space->table[i]->at.start > covered)
			return false;
		covered = space->table[i]->at.end;
	}
	return covered >= at.end;
}

/* A mapping that copies already becomes a snapshot of what it shows, its copies included. */
static bool begins_copying(const struct space_mapping *mapping, unsigned int flags)
{
	if (!(flags & UVM_MAP_COPY_ON_WRITE))
		return false;
	return !mapping->shadow || (flags & UVM_MAP_SNAPSHOT && !mapping->shadow->snapshot);
}

static int begin_copying(struct space_mapping *mapping, unsigned int flags)
{
	struct shadow *old = mapping->shadow;
	uint64_t old_offset = mapping->shadow_offset;
	int rc;

	mapping_unlink(mapping);
	rc = make_copying(mapping, flags);
	if (rc == 0 && old) {
		mappable_put(&old->leaf);
	} else if (rc < 0) {
		if (mapping->shadow != old)
			stop_copying(mapping);
		mapping->shadow = old;
		mapping->shadow_offset = old_offset;
	}
	mapping_link(mapping);
	return rc;
}

static int set_one(struct space_mapping *mapping, unsigned int flags)
{
	int rc = begins_copying(mapping, flags) ? begin_copying(mapping, flags) : 0;

	if (rc == 0)
		mapping->flags = flags & KEPT_FLAGS;
	return rc;
}

static int set_flags(struct uvm_space *space, struct region at, unsigned int flags)
{
	int rc = table_cut(space, at), shown;

	for (size_t i = table_index(space, at.start); rc == 0 && i < space->count && space->table[i]->at.start < at.end;
	     i++)
		rc = set_one(space->table[i], flags);
	shown = views_show(space, at, window_show);
	return rc ? rc : shown;
}

int uvm_space_set_mapflags(struct uvm_space *space, struct uvm_region region, unsigned int flags)
{
	GRAPH_LOCKED;
	struct region at;
	int rc = region_in_space(space, region, &at);

	if (rc == 0 && (!map_flags_known(flags) || !is_covered(space, at)))
		rc = UVM_MEM_INVALID_ARGUMENT;
	return rc == 0 ? set_flags(space, at, flags) : rc;
}
