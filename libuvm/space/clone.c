/* SPDX-License-Identifier: MIT */
/* Cloning a space: each mapping gets a counterpart that shows what it shows now, frozen. */
#include "graph/graph.h"
#include "graph/table.h"
#include "space/shadow.h"
#include "space/space.h"
#include "space/views.h"
#include "space/window.h"

static int clone_mapping(struct space_mapping *mapping, struct uvm_space *to)
{
	uint64_t shift = to->window.start - mapping->space->window.start;
	struct region at = {mapping->at.start + shift, mapping->at.end + shift};
	struct space_mapping *copy = mapping_new(to, at, mapping->mappable, mapping->offset, mapping->flags);
	int rc = copy ? shadow_attach_snapshot(copy, mapping) : UVM_MEM_NO_MEMORY;

	if (rc == 0)
		rc = table_insert(to, copy);
	if (rc < 0)
		mapping_free(copy);
	return rc;
}

/* The two change places below: what the one was bound to, the other is. */
static void exchange_shadows(struct space_mapping *a, struct space_mapping *b)
{
	struct shadow *shadow = a->shadow;
	uint64_t offset = a->shadow_offset;

	mapping_unlink(a);
	mapping_unlink(b);
	a->shadow = b->shadow;
	a->shadow_offset = b->shadow_offset;
	b->shadow = shadow;
	b->shadow_offset = offset;
	mapping_link(a);
	mapping_link(b);
}

static void exchange_all(struct uvm_space *a, struct uvm_space *b)
{
	for (size_t i = 0; i < a->count; i++)
		exchange_shadows(a->table[i], b->table[i]);
}

static int show_all(struct uvm_space *space, view_action action)
{
	int first = 0;

	for (size_t i = 0; i < space->count; i++) {
		int rc = views_show(space, space->table[i]->at, action);

		first = first ? first : rc;
	}
	return first;
}

static int freeze_all(struct uvm_space *snapshot)
{
	int first = 0;

	for (size_t i = 0; i < snapshot->count; i++) {
		int rc = shadow_freeze(snapshot->table[i]->shadow);

		first = first ? first : rc;
	}
	return first;
}

/*
 * Nothing is frozen for the sake of a clone that is not to be. Its mappings go first: to show the others as they were
 * takes some.
 */
static void give_up(struct uvm_space *clone)
{
	if (region_bytes(clone->window))
		window_hide(clone, clone->window);
	while (clone->count) {
		struct space_mapping *mapping = clone->table[clone->count - 1];
		struct shadow *shadow = mapping->shadow;

		table_swap(clone, mapping->at, NULL, NULL);
		mapping->shadow = NULL;
		shadow_discard(shadow);
		mapping_free(mapping);
	}
	mappable_put(&clone->mappable);
}

/* The clone first: nobody writes there yet, so that when it cannot be shown nothing has happened. */
static int show_reversed(struct uvm_space *space, struct uvm_space *new)
{
	int rc;

	exchange_all(space, new);
	rc = show_all(new, window_try);
	if (rc < 0) {
		exchange_all(space, new);
		return rc;
	}
	rc = show_all(space, window_try);
	if (rc < 0) {
		exchange_all(space, new);
		show_all(space, window_show);
	}
	return rc;
}

static int clone_space(struct uvm_space *space, unsigned int flags, struct uvm_space **clone)
{
	struct uvm_space *new;
	int rc = space_create(region_bytes(space->window), &new);

	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < space->count; i++)
		rc = clone_mapping(space->table[i], new);
	if (rc == 0)
		rc = freeze_all(new);
	if (rc == 0)
		rc = flags & UVM_CLONE_REVERSE ? show_reversed(space, new) : show_all(new, window_show);
	if (rc < 0)
		give_up(new);
	else
		*clone = new;
	return rc;
}

int uvm_space_clone(struct uvm_space *space, unsigned int flags, struct uvm_space **clone)
{
	GRAPH_LOCKED;

	return flags & ~UVM_CLONE_REVERSE ? UVM_MEM_INVALID_ARGUMENT : clone_space(space, flags, clone);
}
