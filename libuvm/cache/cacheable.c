/* SPDX-License-Identifier: MIT */
/* Cacheables: what a program fills caches from. */
#include "cache/cacheable.h"

#include <stdlib.h>

#include "base/size.h"
#include "graph/count.h"
#include "graph/graph.h"

/* Runs the program's code. */
static void free_cacheable(struct deferred *end)
{
	struct uvm_cacheable *cacheable = (struct uvm_cacheable *)end;

	if (cacheable->ops.release)
		cacheable->ops.release(cacheable->context);
	free(cacheable);
}

int uvm_cacheable_create(const struct uvm_cacheable_ops *ops, void *context, uint64_t size, uint64_t block_size,
			 struct uvm_cacheable **cacheable)
{
	struct uvm_cacheable *new;

	if (ops->size != sizeof(*ops) || !ops->fill || !is_power_of_two(block_size) || !size ||
	    size > (uint64_t)INT64_MAX / 2 / block_size)
		return UVM_MEM_INVALID_ARGUMENT;
	new = calloc(1, sizeof(*new));
	if (!new)
		return UVM_MEM_NO_MEMORY;
	*new = (struct uvm_cacheable){
		.end.run = free_cacheable,
		.references = 1,
		.ops = *ops,
		.context = context,
		.blocks = size,
		.block = block_size,
		.unit = block_size,
	};
	*cacheable = new;
	return 0;
}

void cacheable_put(struct uvm_cacheable *cacheable)
{
	if (cacheable && count_down(&cacheable->references))
		graph_defer(&cacheable->end);
}

struct uvm_cacheable *uvm_cacheable_ref(struct uvm_cacheable *cacheable)
{
	count_up(&cacheable->references);
	return cacheable;
}

void uvm_cacheable_unref(struct uvm_cacheable *cacheable)
{
	graph_lock();
	cacheable_put(cacheable);
	graph_unlock();
}

int uvm_cacheable_get_size(struct uvm_cacheable *cacheable, uint64_t *blocks)
{
	*blocks = cacheable->blocks;
	return 0;
}

int uvm_cacheable_get_block_size(struct uvm_cacheable *cacheable, uint64_t *bytes)
{
	*bytes = cacheable->block;
	return 0;
}
