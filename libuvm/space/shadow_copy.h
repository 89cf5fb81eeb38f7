/* SPDX-License-Identifier: MIT */
/* Copies of pages, into shadows. */
#pragma once

#include "graph/resolve.h"

/*
 * Copies pages of a leaf to an offset of the shadow, where there is no copy yet. Those that the leaf does not have
 * (beyond the end of a file, not yet in a cache) are not copied.
 */
int shadow_copy(struct shadow *shadow, uint64_t to, struct uvm_mappable *leaf, uint64_t from, uint64_t bytes,
		enum copy_state state);
int shadow_copy_segment(struct shadow *shadow, uint64_t to, const struct segment *segment, enum copy_state state);

/*
 * What cannot be watched has to be copied before it can be written to: when it is touched, for files that have a
 * mirror, else now.
 */
int shadow_copy_unwatchable(struct space_mapping *mapping, struct region region);
