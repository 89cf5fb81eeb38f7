/* SPDX-License-Identifier: MIT */
/* What all mappables have, and leaves. */
#pragma once

#include "graph/graph.h"

void mappable_init(struct uvm_mappable *mappable, enum kind kind, const struct mappable_ops *ops, uint64_t bytes);

/* Gives a leaf a memfd of its size. */
int mappable_make_memfd(struct uvm_mappable *mappable, const char *name);

/* Closes what a leaf holds. */
void mappable_fini(struct uvm_mappable *mappable);

/* Whether writes to the leaf can be caught. */
bool mappable_watchable(const struct uvm_mappable *mappable);

/* What the ops say; see there. */
bool mappable_has(const struct uvm_mappable *mappable, uint64_t offset);
bool mappable_usable(const struct uvm_mappable *mappable);
