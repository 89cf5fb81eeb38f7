/* SPDX-License-Identifier: MIT */
/* What the methods of AddrSpace share. */
#pragma once

#include "graph/graph.h"

/* Whether all of them are UVM_MAP_ flags. */
bool map_flags_known(unsigned int flags);

/* Half-open, from inclusive bounds. Returns 0 or UVM_MEM_INVALID_ARGUMENT (not whole pages; outside the window). */
int region_of_pages(struct uvm_region from, struct region *region);
int region_in_space(const struct uvm_space *space, struct uvm_region from, struct region *region);

/* With a window of that many bytes, or stacked (0). */
int space_create(uint64_t window, struct uvm_space **space);

/* fault.c: a fault in the window of a space, as its ops have it. */
void space_fault(struct uvm_space *space, struct region page, bool write);
