/* SPDX-License-Identifier: MIT */
/* The translations of a space: mappings in order of their addresses. */
#include "graph/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "graph/graph.h"

size_t table_index(const struct uvm_space *space, uint64_t address)
{
	size_t low = 0, high = space->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (space->table[middle]->at.end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct space_mapping *table_find(const struct uvm_space *space, uint64_t address)
{
	size_t i = table_index(space, address);

	return i < space->count && space->table[i]->at.start <= address ? space->table[i] : NULL;
}

static int reserve_slot(struct uvm_space *space)
{
	/* It holds pointers. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	return array_reserve(&space->table, space->count, &space->capacity) < 0 ? UVM_MEM_NO_MEMORY : 0;
}

static void insert_at(struct uvm_space *space, size_t index, struct space_mapping *mapping)
{
	memmove(space->table + index + 1, space->table + index,
		(space->count - index) * sizeof(struct space_mapping *));
	space->table[index] = mapping;
	space->count++;
}

static int split_at(struct uvm_space *space, uint64_t address)
{
	struct space_mapping *left = table_find(space, address), *right;
	uint64_t head;

	if (!left || left->at.start == address)
		return 0;
	head = address - left->at.start;
	right = mapping_new(space, (struct region){address, left->at.end}, left->mappable, left->offset + head,
			    left->flags);
	if (!right || reserve_slot(space)) {
		mapping_free(right);
		return UVM_MEM_NO_MEMORY;
	}
	if (left->shadow) {
		right->shadow = (struct shadow *)uvm_mappable_ref(&left->shadow->leaf);
		right->shadow_offset = left->shadow_offset + head;
	}
	left->at.end = address;
	insert_at(space, table_index(space, address), right);
	mapping_link(right);
	return 0;
}

int table_cut(struct uvm_space *space, struct region region)
{
	int rc = split_at(space, region.start);

	if (rc == 0)
		rc = split_at(space, region.end);
	return rc ? rc : reserve_slot(space);
}

void table_swap(struct uvm_space *space, struct region region, struct space_mapping *mapping,
		struct space_mapping **old)
{
	size_t first = table_index(space, region.start), last = first;

	for (; last < space->count && space->table[last]->at.start < region.end; last++) {
		mapping_unlink(space->table[last]);
		if (old)
			old[last - first] = space->table[last];
	}
	memmove(space->table + first, space->table + last, (space->count - last) * sizeof(struct space_mapping *));
	space->count -= last - first;
	if (mapping) {
		insert_at(space, first, mapping);
		mapping_link(mapping);
	}
}

int table_insert(struct uvm_space *space, struct space_mapping *mapping)
{
	int rc = reserve_slot(space);

	if (rc == 0) {
		insert_at(space, table_index(space, mapping->at.start), mapping);
		mapping_link(mapping);
	}
	return rc;
}

struct space_mapping *mapping_new(struct uvm_space *space, struct region at, struct uvm_mappable *mappable,
				  uint64_t offset, unsigned int flags)
{
	struct space_mapping *mapping = calloc(1, sizeof(*mapping));

	if (!mapping)
		return NULL;
	mapping->space = space;
	mapping->at = at;
	mapping->mappable = uvm_mappable_ref(mappable);
	mapping->offset = offset;
	mapping->flags = flags & KEPT_FLAGS;
	return mapping;
}

/* A snapshot does not follow what was mapped. */
static bool follows_mappable(const struct space_mapping *mapping)
{
	return !mapping->shadow || !mapping->shadow->snapshot;
}

void mapping_link(struct space_mapping *mapping)
{
	if (follows_mappable(mapping))
		LIST_INSERT_HEAD(&mapping->mappable->above, mapping, above);
	if (mapping->shadow)
		LIST_INSERT_HEAD(&mapping->shadow->owners, mapping, owner);
}

void mapping_unlink(struct space_mapping *mapping)
{
	if (follows_mappable(mapping))
		LIST_REMOVE(mapping, above);
	if (mapping->shadow)
		LIST_REMOVE(mapping, owner);
}

void mapping_free(struct space_mapping *mapping)
{
	if (!mapping)
		return;
	mappable_put(mapping->mappable);
	if (mapping->shadow)
		mappable_put(&mapping->shadow->leaf);
	free(mapping);
}
