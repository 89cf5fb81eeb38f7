/* SPDX-License-Identifier: MIT */
/* AddrSpace: making one, and asking it. */
#include "space/space.h"

#include <stdlib.h>

#include "base/size.h"
#include "graph/graph.h"
#include "graph/mappable.h"
#include "graph/table.h"
#include "space/window.h"

#define MAP_FLAGS                                                                                           \
	(UVM_MAP_FIXED | UVM_MAP_REPLACE | UVM_MAP_COPY_ON_WRITE | UVM_MAP_SNAPSHOT | UVM_MAP_ACCESS_MASK | \
	 UVM_MAP_OVERMAP_MASK)

bool map_flags_known(unsigned int flags)
{
	return !(flags & ~MAP_FLAGS) && (flags & UVM_MAP_OVERMAP_MASK) != UVM_MAP_OVERMAP_MASK;
}

int region_of_pages(struct uvm_region from, struct region *region)
{
	if (region_from_inclusive(from.start, from.end, region) || (region->start | region->end) & (page_size() - 1))
		return UVM_MEM_INVALID_ARGUMENT;
	return 0;
}

int region_in_space(const struct uvm_space *space, struct uvm_region from, struct region *region)
{
	int rc = region_of_pages(from, region);

	if (rc == 0 && region_bytes(space->window) && !region_contains(space->window, *region))
		rc = UVM_MEM_INVALID_ARGUMENT;
	return rc;
}

static void free_space(struct uvm_mappable *mappable)
{
	struct uvm_space *space = (struct uvm_space *)mappable;

	window_release(space);
	for (size_t i = 0; i < space->count; i++) {
		mapping_unlink(space->table[i]);
		mapping_free(space->table[i]);
	}
	free(space->table);
	free(space);
}

static const struct mappable_ops space_ops = {.free = free_space, .fault = space_fault};

int space_create(uint64_t window, struct uvm_space **space)
{
	struct uvm_space *new = calloc(1, sizeof(*new));

	if (!new)
		return UVM_MEM_NO_MEMORY;
	mappable_init(&new->mappable, KIND_SPACE, &space_ops, round_down(UINT64_MAX, page_size()));
	if (window && window_reserve(new, window)) {
		free(new);
		return UVM_MEM_NO_MEMORY;
	}
	*space = new;
	return 0;
}

int uvm_space_create(uint64_t bytes, struct uvm_space **space)
{
	GRAPH_LOCKED;

	if (!bytes || bytes > INT64_MAX)
		return UVM_MEM_INVALID_ARGUMENT;
	return space_create(round_up(bytes, page_size()), space);
}

int uvm_space_create_stacked(struct uvm_space **space)
{
	return space_create(0, space);
}

struct uvm_space *uvm_space_ref(struct uvm_space *space)
{
	uvm_mappable_ref(&space->mappable);
	return space;
}

void uvm_space_unref(struct uvm_space *space)
{
	uvm_mappable_unref((struct uvm_mappable *)space);
}

int uvm_space_get_window(struct uvm_space *space, struct uvm_region *window)
{
	if (!region_bytes(space->window))
		return UVM_MEM_OPERATION_NOT_SUPPORTED;
	*window = (struct uvm_region){space->window.start, space->window.end - 1};
	return 0;
}

int uvm_space_get_mappable(struct uvm_space *space, struct uvm_mappable **mappable)
{
	*mappable = uvm_mappable_ref(&space->mappable);
	return 0;
}

int uvm_space_get_mapflags(struct uvm_space *space, struct uvm_region region, unsigned int *flags, bool *all_same)
{
	GRAPH_LOCKED;
	const struct space_mapping *first;
	struct region at;
	uint64_t covered;
	int rc = region_in_space(space, region, &at);

	if (rc)
		return rc;
	first = table_find(space, at.start);
	*flags = first ? first->flags : 0;
	covered = at.start;
	for (size_t i = table_index(space, at.start); first && i < space->count && covered < at.end; i++) {
		const struct space_mapping *mapping = space->table[i];

		if (mapping->at.start > covered || mapping->flags != first->flags)
			break;
		covered = mapping->at.end;
	}
	*all_same = covered >= at.end;
	return 0;
}

/* Several mappings that continue each other are one to the caller. */
static struct uvm_mappable *covering_mappable(const struct uvm_space *space, struct region at, uint64_t *offset)
{
	const struct space_mapping *first = table_find(space, at.start);
	uint64_t covered = at.start;

	if (!first)
		return NULL;
	for (size_t i = table_index(space, at.start); i < space->count && covered < at.end; i++) {
		const struct space_mapping *mapping = space->table[i];

		if (mapping->at.start > covered || mapping->mappable != first->mappable ||
		    mapping->offset - first->offset != mapping->at.start - first->at.start)
			return NULL;
		covered = mapping->at.end;
	}
	if (covered < at.end)
		return NULL;
	*offset = first->offset + at.start - first->at.start;
	return first->mappable;
}

int uvm_space_get_mapping(struct uvm_space *space, struct uvm_region region, struct uvm_mappable **mappable,
			  uint64_t *offset)
{
	GRAPH_LOCKED;
	struct region at;
	int rc = region_in_space(space, region, &at);

	if (rc)
		return rc;
	*mappable = covering_mappable(space, at, offset);
	if (*mappable)
		uvm_mappable_ref(*mappable);
	return 0;
}

int uvm_space_get_page_size(struct uvm_space *space, unsigned int *bytes)
{
	(void)space;
	*bytes = (unsigned int)page_size();
	return 0;
}

/* No machine that Linux runs on here has caches that need more. */
int uvm_space_get_min_align(struct uvm_space *space, unsigned int *bytes)
{
	return uvm_space_get_page_size(space, bytes);
}
