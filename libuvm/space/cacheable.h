/* SPDX-License-Identifier: MIT */
/* The objects behind caches. */
#pragma once

#include "space/graph.h"

struct uvm_cacheable {
	atomic_uint references;
	struct uvm_cacheable_ops ops;
	void *context;
	uint64_t blocks;
	uint64_t block;
	SLIST_ENTRY(uvm_cacheable) dead;
};

/* Calls the program; without the graph's lock. */
void cacheable_free(struct uvm_cacheable *cacheable);
