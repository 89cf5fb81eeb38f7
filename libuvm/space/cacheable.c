/* SPDX-License-Identifier: MIT */
/* Cacheables: what a program fills caches from, and memory and files as such. */
#include "space/cacheable.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "space/count.h"

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
		.references = 1,
		.ops = *ops,
		.context = context,
		.blocks = size,
		.block = block_size,
	};
	*cacheable = new;
	return 0;
}

void cacheable_free(struct uvm_cacheable *cacheable)
{
	if (cacheable->ops.release)
		cacheable->ops.release(cacheable->context);
	free(cacheable);
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

/* Zeros behind the end, as in a mapping of the last page of a file. */
static int read_page(const struct uvm_mappable *from, char *page, uint64_t offset)
{
	ssize_t got = fd_read_up_to(from->fd, page, page_size(), offset);

	if (got < 0)
		return UVM_MEM_IO_ERROR;
	memset(page + got, 0, page_size() - (uint64_t)got);
	return 0;
}

static int fill_from(void *context, struct uvm_cache *cache, struct uvm_region region)
{
	_cleanup_free_ char *page = malloc(page_size());
	int rc = page ? 0 : UVM_MEM_NO_MEMORY;

	for (uint64_t at = region.start; rc == 0 && at < region.end; at += page_size()) {
		rc = read_page(context, page, at);
		if (rc == 0)
			rc = uvm_cache_fill(cache, at, page, page_size());
	}
	return rc;
}

static void release_from(void *context)
{
	uvm_mappable_unref(context);
}

int uvm_cacheable_create_from(struct uvm_mappable *mappable, struct uvm_cacheable **cacheable)
{
	static const struct uvm_cacheable_ops ops = {sizeof(ops), fill_from, release_from};
	uint64_t pages;
	int rc;

	if (mappable->kind != KIND_MEMORY && mappable->kind != KIND_FILE)
		return UVM_MEM_OPERATION_NOT_SUPPORTED;
	rc = uvm_mappable_get_size(mappable, &pages);
	if (rc == 0)
		rc = uvm_cacheable_create(&ops, mappable, pages, page_size(), cacheable);
	if (rc == 0)
		uvm_mappable_ref(mappable);
	return rc;
}
