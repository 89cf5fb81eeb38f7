/* SPDX-License-Identifier: MIT */
/* Memory and files as what caches are filled from. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "cache/cache.h"

#define CHUNK (256 * KiB)

/* Zeros behind the end, as in a mapping of the last page of a file. */
static int read_pages(const struct uvm_mappable *from, char *to, uint64_t bytes, uint64_t offset)
{
	ssize_t got = fd_read_up_to(from->fd, to, bytes, offset);

	if (got < 0)
		return UVM_MEM_IO_ERROR;
	memset(to + got, 0, bytes - (uint64_t)got);
	return 0;
}

static int fill_from(void *context, struct uvm_cache *cache, struct uvm_region region)
{
	_cleanup_free_ char *buffer = malloc(min_u64(CHUNK, region.end + 1 - region.start));
	int rc = buffer ? 0 : UVM_MEM_NO_MEMORY;

	for (uint64_t at = region.start; rc == 0 && at < region.end; at += CHUNK) {
		uint64_t bytes = min_u64(CHUNK, region.end + 1 - at);

		rc = read_pages(context, buffer, bytes, at);
		if (rc == 0)
			rc = uvm_cache_fill(cache, at, buffer, bytes);
	}
	return rc;
}

static void release_from(void *context)
{
	uvm_mappable_unref(context);
}

int cacheable_of(struct uvm_mappable *mappable, uint64_t pages, struct uvm_cacheable **cacheable)
{
	static const struct uvm_cacheable_ops ops = {sizeof(ops), fill_from, release_from};
	int rc = uvm_cacheable_create(&ops, mappable, pages, page_size(), cacheable);

	if (rc == 0)
		uvm_mappable_ref(mappable);
	return rc;
}

int uvm_cacheable_create_from(struct uvm_mappable *mappable, struct uvm_cacheable **cacheable)
{
	uint64_t pages;
	int rc;

	if (mappable->kind != KIND_MEMORY && mappable->kind != KIND_FILE)
		return UVM_MEM_OPERATION_NOT_SUPPORTED;
	rc = uvm_mappable_get_size(mappable, &pages);
	return rc ? rc : cacheable_of(mappable, pages, cacheable);
}
