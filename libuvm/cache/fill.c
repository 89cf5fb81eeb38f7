/* SPDX-License-Identifier: MIT */
/* Adding pages to a cache, and taking them out. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "cache/cache.h"
#include "graph/graph.h"
#include "graph/resolve.h"
#include "graph/watch.h"
#include "space/shadow.h"
#include "space/views.h"
#include "space/window.h"
#include "uffd/uffd.h"

#define CHUNK (256 * KiB)

/* Where pages that are there, or those that are not, end. */
static uint64_t alike_until(const struct uvm_cache *cache, struct region region)
{
	const uint8_t *state = cache->state + region.start / page_size();
	uint64_t at = region.start;

	do {
		at += page_size();
		state++;
	} while (at < region.end && (*state == PAGE_PRESENT) == (state[-1] == PAGE_PRESENT));
	return at;
}

/*
 * The kernel makes a whole page before anybody can see it. Something of the program's own may be in the way for a
 * moment (EAGAIN).
 */
static int put_pages(const struct uvm_cache *cache, uint64_t at, const char *data, uint64_t bytes)
{
	uint64_t done = 0;

	while (done < bytes) {
		size_t copied;
		int rc = uffd_copy(watch_fd(), (uintptr_t)cache->alias + at + done, data + done, bytes - done, false,
				   &copied);

		done += copied;
		if (rc == -EEXIST)
			done += page_size();
		else if (rc == -EAGAIN && !copied)
			sched_yield();
		else if (rc < 0 && rc != -EAGAIN)
			return UVM_MEM_NO_MEMORY;
	}
	return 0;
}

static int add_pages(struct uvm_cache *cache, uint64_t address, const char *data, uint64_t bytes)
{
	struct region region = region_at(address, bytes);
	int rc = 0;

	for (uint64_t at = region.start, next; rc == 0 && at < region.end; at = next) {
		next = alike_until(cache, (struct region){at, region.end});
		if (cache_has(&cache->mappable, at))
			continue;
		rc = put_pages(cache, at, data + (at - address), next - at);
		if (rc == 0)
			cache_set_state(cache, (struct region){at, next}, PAGE_PRESENT);
	}
	views_of(&cache->mappable, region, window_wake);
	cache_notify(cache);
	return rc;
}

/* Zeros behind the end of the file. */
int cache_complete(struct uvm_cache *cache, struct region region, int fd)
{
	_cleanup_free_ char *buffer = malloc(CHUNK);
	int rc = buffer ? 0 : UVM_MEM_NO_MEMORY;

	for (uint64_t at = region.start, next; rc == 0 && at < region.end; at = next) {
		ssize_t got;

		next = min_u64(alike_until(cache, (struct region){at, region.end}), at + CHUNK);
		if (cache_has(&cache->mappable, at))
			continue;
		memset(buffer, 0, next - at);
		got = fd_read_up_to(fd, buffer, next - at, at);
		rc = got < 0 ? UVM_MEM_IO_ERROR : add_pages(cache, at, buffer, next - at);
	}
	return rc;
}

/* From a buffer of our own: reading the program's under the lock could fault, and wait for us. */
static int fill_chunk(struct uvm_cache *cache, uint64_t address, const char *data, uint64_t bytes)
{
	GRAPH_LOCKED;
	struct region region;
	int rc = cache_region(cache, (struct uvm_region){address, address + bytes - 1}, &region);

	return rc == 0 ? add_pages(cache, address, data, bytes) : rc;
}

static int check_region(struct uvm_cache *cache, struct uvm_region from, struct region *region)
{
	GRAPH_LOCKED;

	return cache_region(cache, from, region);
}

static int fill_region(struct uvm_cache *cache, struct uvm_region from, const char *data)
{
	_cleanup_free_ char *buffer = NULL;
	struct region region;
	int rc = check_region(cache, from, &region);

	if (rc < 0)
		return rc;
	buffer = calloc(1, min_u64(CHUNK, region_bytes(region)));
	if (!buffer)
		return UVM_MEM_NO_MEMORY;
	for (uint64_t at = region.start; rc == 0 && at < region.end; at += CHUNK) {
		uint64_t bytes = min_u64(CHUNK, region.end - at);

		if (data)
			memcpy(buffer, data + (at - region.start), bytes);
		rc = fill_chunk(cache, at, buffer, bytes);
	}
	return rc;
}

int uvm_cache_fill(struct uvm_cache *cache, uint64_t address, const void *data, size_t bytes)
{
	return fill_region(cache, (struct uvm_region){address, address + bytes - 1}, data);
}

int uvm_cache_fill_zero(struct uvm_cache *cache, struct uvm_region region)
{
	return fill_region(cache, region, NULL);
}

void cache_fail(struct uvm_cache *cache, struct region region)
{
	if (!cache->cacheable)
		return;
	for (uint64_t at = region.start; at < region.end; at += page_size())
		if (!cache_has(&cache->mappable, at))
			cache_set_state(cache, region_at(at, page_size()), PAGE_FAILED);
	views_of(&cache->mappable, region, window_wake);
	cache_notify(cache);
}

int uvm_cache_fill_error(struct uvm_cache *cache, struct uvm_region region)
{
	GRAPH_LOCKED;
	struct region at;
	int rc = cache_region(cache, region, &at);

	if (rc == 0)
		cache_fail(cache, at);
	return rc;
}

/* Those that a snapshot shows stay there. Those that were asked for are still to come. */
static int remove_page(struct uvm_cache *cache, uint64_t at)
{
	int rc = 0;

	if (cache_has(&cache->mappable, at)) {
		if (leaf_frozen(&cache->mappable, at))
			rc = leaf_thaw(&cache->mappable, at);
		if (rc == 0 && fallocate(cache->mappable.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
					 (off_t)page_size()) < 0)
			rc = UVM_MEM_NO_MEMORY;
	}
	if (rc == 0 && cache->state[at / page_size()] != PAGE_REQUESTED)
		cache->state[at / page_size()] = PAGE_ABSENT;
	return rc;
}

/*
 * The mappings are made anew: poison stays in a mapping otherwise, and the protection of a page that was touched while
 * it was cut out of the file may be gone (mm/memory.c, unmap_mapping_folio). Until then nobody can write to it, for it
 * does not come back before we let go of the lock.
 */
static int remove_pages(struct uvm_cache *cache, struct region region)
{
	int rc = 0, shown;

	for (uint64_t at = region.start; rc == 0 && at < region.end; at += page_size())
		rc = remove_page(cache, at);
	shown = views_of(&cache->mappable, region, window_show);
	return rc ? rc : shown;
}

int uvm_cache_remove(struct uvm_cache *cache, struct uvm_region region)
{
	GRAPH_LOCKED;
	struct region at;
	int rc = cache_region(cache, region, &at);

	return rc == 0 ? remove_pages(cache, at) : rc;
}
