/* SPDX-License-Identifier: MIT */
/* Copy on write. */
#pragma once

#include "graph/graph.h"

/* Makes a mapping that is not linked copy on write: of what lies below it from now on. */
int shadow_attach(struct space_mapping *mapping);

/*
 * The same of what a mapping of that size (itself, or another one) shows now, which later changes below do not reach.
 */
int shadow_attach_snapshot(struct space_mapping *mapping, struct space_mapping *of);

/* Protects what a snapshot froze against writers. */
int shadow_freeze(struct shadow *shadow);

/* Frees the shadow of a mapping that is not to be after all, and lifts that protection. */
void shadow_discard(struct shadow *shadow);

/* Copies a page, which then is shown everywhere. */
int shadow_copy_page(struct space_mapping *mapping, uint64_t offset);

/* Keeps a frozen page for all snapshots that show it. */
int leaf_thaw(struct uvm_mappable *leaf, uint64_t offset);
