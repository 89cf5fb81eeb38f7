/* SPDX-License-Identifier: MIT */
/* The translations of a space: mappings in order of their addresses. */
#pragma once

#include "graph/graph.h"

/* Of the first mapping that ends behind an address; the mapping that holds it, or NULL. */
size_t table_index(const struct uvm_space *space, uint64_t address);
struct space_mapping *table_find(const struct uvm_space *space, uint64_t address);

/* Cuts mappings in two where the region begins and ends, and makes room for one more. */
int table_cut(struct uvm_space *space, struct region region);

/*
 * Puts `mapping` (NULL: nothing) in place of all that lies in the region, which was cut. The old ones are handed to
 * *old, which has room for them.
 */
void table_swap(struct uvm_space *space, struct region region, struct space_mapping *mapping,
		struct space_mapping **old);

/* Where nothing is. */
int table_insert(struct uvm_space *space, struct space_mapping *mapping);

/* Link and unlink: it is among the mappings of what it shows. Freed when it is in no table any more. */
struct space_mapping *mapping_new(struct uvm_space *space, struct region at, struct uvm_mappable *mappable,
				  uint64_t offset, unsigned int flags);
void mapping_link(struct space_mapping *mapping);
void mapping_unlink(struct space_mapping *mapping);
void mapping_free(struct space_mapping *mapping);
