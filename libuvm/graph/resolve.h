/* SPDX-License-Identifier: MIT */
/* Downwards, from an address to leaves. */
#pragma once

#include "graph/graph.h"

/* What a range of addresses shows in the end: a leaf, with the rights that all levels leave. */
struct segment {
	struct region at;
	struct uvm_mappable *leaf;
	uint64_t offset;
	unsigned int access;
	bool watched; /* a write has to be seen first */
	void *aside;  /* made for it, not yet in its place */
};

struct segment_vec {
	struct segment *items;
	size_t count;
	size_t capacity;
};

/* How a space above looks at a range of a mappable. */
struct view {
	struct region range;
	uint64_t to; /* the address that range.start has there */
	unsigned int access;
	const struct shadow *shadow; /* the lowest that copies, if any */
	bool copies;                 /* writes go to a copy above: down here only reading counts */
};

/* Notes that a part of a mirror is shown. Returns 0 or UVM_MEM_NO_MEMORY. */
int mirror_show(struct uvm_mappable *mirror, struct region range);

/* Down to the leaves: the segments that the view consists of. */
int resolve(struct uvm_mappable *mappable, struct view view, struct segment_vec *out);

/* The same below one mapping, whose own rights do not count. */
int resolve_mapping(struct space_mapping *mapping, struct view view, struct segment_vec *out);

/* Below its copies, too: what it would show if nothing had been copied. */
int resolve_source(struct space_mapping *mapping, struct view view, struct segment_vec *out);
void segments_free(struct segment_vec *vec);

/* Whether that page of the leaf must not be written to: a snapshot still shows it, or it settles. */
bool leaf_frozen(const struct uvm_mappable *leaf, uint64_t offset);

#define _cleanup_segments_ __attribute__((cleanup(segments_free)))
