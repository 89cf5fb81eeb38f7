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
};

/* Takes back a reference while the graph's lock is held. */
void cacheable_put(struct uvm_cacheable *cacheable);
