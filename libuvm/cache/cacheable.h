/* SPDX-License-Identifier: MIT */
/* The objects behind caches. */
#pragma once

#include "graph/graph.h"

struct uvm_cacheable {
	struct deferred end;
	atomic_uint references;
	struct uvm_cacheable_ops ops;
	void *context;
	uint64_t blocks;
	uint64_t block;
	uint64_t unit; /* bytes that are asked for at once; a block */
};

/*
 * Memory or a file as a Cacheable, of so many pages; takes a reference to it. Returns 0, UVM_MEM_INVALID_ARGUMENT or
 * UVM_MEM_NO_MEMORY.
 */
int cacheable_of(struct uvm_mappable *mappable, uint64_t pages, struct uvm_cacheable **cacheable);

/* Takes back a reference while the graph's lock is held. */
void cacheable_put(struct uvm_cacheable *cacheable);
