/* SPDX-License-Identifier: MIT */
/* What all mappables have, and leaves. */
#pragma once

#include "graph/graph.h"

/* One reference, and nothing of its kind yet. */
void mappable_init(struct uvm_mappable *mappable, enum kind kind, const struct mappable_ops *ops, uint64_t bytes);

/* Gives a leaf a memfd of its size. */
int mappable_make_memfd(struct uvm_mappable *mappable, const char *name);

/* Overwrites the contents of a leaf that is to be wiped. */
void mappable_wipe(struct uvm_mappable *mappable);

/* Wipes it if it is to be, and closes what a leaf holds. */
void mappable_fini(struct uvm_mappable *mappable);

/* The end of a leaf that has nothing more. */
void leaf_free(struct uvm_mappable *leaf);

/* Whether writes to the leaf can be caught. */
bool mappable_watchable(const struct uvm_mappable *mappable);

/* A leaf that a shadow copies from. With the last one a mirror ends: then the file may change. */
struct uvm_mappable *mappable_use(struct uvm_mappable *leaf);
void mappable_unuse(struct uvm_mappable *leaf);

/* The mirror of a file, used; NULL when it has none. */
struct uvm_mappable *mappable_mirror(struct uvm_mappable *file);

/* What the ops say; see there. */
bool mappable_has(const struct uvm_mappable *mappable, uint64_t offset);
bool mappable_usable(const struct uvm_mappable *mappable);
