/* SPDX-License-Identifier: MIT */
/* Faults in windows: a page of a cache that has not come, or a write to a page that has to be copied first. */
#include "base/size.h"
#include "graph/resolve.h"
#include "graph/table.h"
#include "space/shadow.h"
#include "space/space.h"
#include "space/window.h"

static void serve_missing(struct uvm_space *space, struct region page)
{
	_cleanup_segments_ struct segment_vec vec = {0};
	const struct view view = {.range = page, .to = page.start, .access = UVM_ACCESS_READ};

	if (resolve(&space->mappable, view, &vec) == 0 && vec.count && vec.items->leaf->ops->missing)
		vec.items->leaf->ops->missing(vec.items->leaf, vec.items->offset, page.start);
	else
		window_wake(space, page);
}

static int write_leaf(struct uvm_space *space, struct region page, struct uvm_mappable *leaf, uint64_t offset)
{
	return leaf_frozen(leaf, offset) ? leaf_thaw(leaf, offset) : window_permit(space, page);
}

static int write_fault(struct uvm_space *space, struct region page)
{
	struct uvm_mappable *mappable = &space->mappable;
	uint64_t offset = page.start;

	while (mappable->kind == KIND_SPACE) {
		struct space_mapping *mapping = table_find((struct uvm_space *)mappable, offset);

		if (!mapping || !(mapping->flags & UVM_MAP_WRITE))
			return window_show(space, page);
		offset -= mapping->at.start;
		if (!mapping->shadow) {
			mappable = mapping->mappable;
			offset += mapping->offset;
			continue;
		}
		offset += mapping->shadow_offset;
		if (!mapping->shadow->copied[offset / page_size()])
			return shadow_copy_page(mapping, offset);
		mappable = &mapping->shadow->leaf;
	}
	return write_leaf(space, page, mappable, offset);
}

void space_fault(struct uvm_space *space, struct region page, bool write)
{
	if (!write) {
		serve_missing(space, page);
		return;
	}
	if (write_fault(space, page) < 0)
		window_hide(space, page);
	window_wake(space, page);
}
