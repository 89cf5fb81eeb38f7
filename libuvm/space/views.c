/* SPDX-License-Identifier: MIT */
/* From a mappable up to all the windows that show it. */
#include "space/views.h"

#include "space/shadow_copy.h"
#include "space/window.h"

static int visit_mapping(struct space_mapping *mapping, struct region region, view_action action)
{
	struct uvm_space *space = mapping->space;
	int rc = 0, above;

	if (!region_bytes(region))
		return 0;
	if ((action == window_show || action == window_try) && mapping->shadow && !mapping->shadow->snapshot)
		rc = shadow_copy_unwatchable(mapping, region);
	if (region_bytes(space->window)) {
		above = action(space, region);
		rc = rc ? rc : above;
	}
	above = views_of(&space->mappable, region, action);
	return rc ? rc : above;
}

/* Where a range, which something maps from `offset` on at `at`, is seen there. */
static struct region translate_range(struct region range, uint64_t offset, struct region at)
{
	struct region common = region_intersect(range, region_at(offset, region_bytes(at)));

	return (struct region){common.start - offset + at.start, common.end - offset + at.start};
}

int views_of_shadow(struct shadow *shadow, struct region range, view_action action)
{
	struct space_mapping *mapping;
	int first = 0;

	LIST_FOREACH(mapping, &shadow->owners, owner) {
		int rc = visit_mapping(mapping, translate_range(range, mapping->shadow_offset, mapping->at), action);

		first = first ? first : rc;
	}
	return first;
}

int views_of_writers(struct uvm_mappable *mappable, struct region range, view_action action)
{
	struct space_mapping *mapping;
	int first = 0, rc;

	LIST_FOREACH(mapping, &mappable->above, above) {
		rc = visit_mapping(mapping, translate_range(range, mapping->offset, mapping->at), action);
		first = first ? first : rc;
	}
	if (mappable->mirror_of) {
		rc = views_of_writers(mappable->mirror_of, range, action);
		first = first ? first : rc;
	}
	if (mappable->kind == KIND_SHADOW) {
		rc = views_of_shadow((struct shadow *)mappable, range, action);
		first = first ? first : rc;
	}
	return first;
}

int views_of(struct uvm_mappable *mappable, struct region range, view_action action)
{
	int first = views_of_writers(mappable, range, action);
	struct backing *backing;

	LIST_FOREACH(backing, &mappable->frozen_for, of_leaf) {
		int rc = views_of_shadow(backing->shadow, translate_range(range, backing->offset, backing->at), action);

		first = first ? first : rc;
	}
	return first;
}

int views_show(struct uvm_space *space, struct region region, view_action action)
{
	int rc = region_bytes(space->window) ? action(space, region) : 0;
	int above = views_of(&space->mappable, region, action);

	return rc ? rc : above;
}
