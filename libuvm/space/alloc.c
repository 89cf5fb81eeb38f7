/* SPDX-License-Identifier: MIT */
/* Allocator, GenericAllocator and AllocHandle of <uvm/space.h>, over the region allocator of the store. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <uvm/space.h>

#include "base/cleanup.h"
#include "base/region.h"
#include "base/size.h"
#include "graph/count.h"
#include "store/extents.h"

struct uvm_allocator {
	atomic_uint references;
	pthread_mutex_t lock;
	struct extents *extents;
	uint64_t block;
	bool in_use; /* regions or allocations were asked for: the block size stands */
};

struct uvm_alloc_handle {
	atomic_uint references;
	struct uvm_allocator *allocator;
	struct region_vec held;
};

int uvm_alloc_create(struct uvm_allocator **allocator)
{
	struct uvm_allocator *new = calloc(1, sizeof(*new));

	if (!new || extents_new(&new->extents, 0)) {
		free(new);
		return UVM_MEM_NO_MEMORY;
	}
	new->references = 1;
	new->block = 1;
	pthread_mutex_init(&new->lock, NULL);
	*allocator = new;
	return 0;
}

struct uvm_allocator *uvm_alloc_ref(struct uvm_allocator *allocator)
{
	count_up(&allocator->references);
	return allocator;
}

void uvm_alloc_unref(struct uvm_allocator *allocator)
{
	if (!allocator || !count_down(&allocator->references))
		return;
	extents_free(allocator->extents);
	pthread_mutex_destroy(&allocator->lock);
	free(allocator);
}

int uvm_alloc_set_block_size(struct uvm_allocator *allocator, uint64_t block_size)
{
	int rc = 0;

	if (!is_power_of_two(block_size))
		return UVM_MEM_INVALID_ARGUMENT;
	pthread_mutex_lock(&allocator->lock);
	if (allocator->in_use)
		rc = UVM_MEM_INVALID_STATE;
	else
		allocator->block = block_size;
	pthread_mutex_unlock(&allocator->lock);
	return rc;
}

/* Whole blocks, sorted, none overlapping another. */
static int read_regions(const struct uvm_region *regions, size_t count, uint64_t block, struct region_vec *vec)
{
	for (size_t i = 0; i < count; i++) {
		struct region region;

		if (region_from_inclusive(regions[i].start, regions[i].end, &region) ||
		    (region.start | region.end) & (block - 1))
			return UVM_MEM_INVALID_ARGUMENT;
		if (region_vec_push(vec, region))
			return UVM_MEM_NO_MEMORY;
	}
	region_vec_sort(vec);
	return region_vec_overlap(vec) < 0 ? 0 : UVM_MEM_INVALID_ARGUMENT;
}

static int add_regions(struct extents *extents, const struct region_vec *vec)
{
	for (size_t i = 0; i < vec->count; i++) {
		int rc = extents_add(extents, vec->items[i].start, region_bytes(vec->items[i]));

		if (rc == 0)
			continue;
		while (i--)
			extents_remove(extents, vec->items[i].start, region_bytes(vec->items[i]));
		return rc == -ENOMEM ? UVM_MEM_NO_MEMORY : UVM_MEM_INVALID_ARGUMENT;
	}
	return 0;
}

int uvm_alloc_add_regions(struct uvm_allocator *allocator, const struct uvm_region *regions, size_t count)
{
	_cleanup_regions_ struct region_vec vec = {0};
	int rc;

	pthread_mutex_lock(&allocator->lock);
	rc = read_regions(regions, count, allocator->block, &vec);
	if (rc == 0)
		rc = add_regions(allocator->extents, &vec);
	if (rc == 0)
		allocator->in_use = true;
	pthread_mutex_unlock(&allocator->lock);
	return rc;
}

static int take_range(struct uvm_allocator *allocator, uint64_t *start, uint64_t length, unsigned int flags)
{
	int rc;

	if (*start != UVM_UNSPECIFIED_START && !(*start & (allocator->block - 1))) {
		rc = extents_take_at(allocator->extents, *start, length);
		if (rc == 0 || rc == -ENOMEM)
			return rc;
	}
	/* Outside of all regions is not free either. */
	if (flags & UVM_ALLOCATOR_FIXED)
		return *start & (allocator->block - 1) ? UVM_MEM_INVALID_ARGUMENT : UVM_MEM_REGION_OCCUPIED;
	return extents_take(allocator->extents, length, start);
}

static int fill_handle(struct uvm_alloc_handle *handle, struct uvm_allocator *allocator, uint64_t *start,
		       uint64_t length, unsigned int flags)
{
	uint64_t at = *start;
	uint64_t bytes = round_up(length, allocator->block);
	int rc;

	if (!bytes) /* 0, or rounded up beyond everything */
		return UVM_MEM_INVALID_ARGUMENT;
	rc = take_range(allocator, &at, bytes, flags);
	if (rc < 0)
		return rc;
	if (region_vec_push(&handle->held, region_at(at, bytes))) {
		extents_give(allocator->extents, at, bytes, NULL, NULL);
		return UVM_MEM_NO_MEMORY;
	}
	*start = at;
	allocator->in_use = true;
	return 0;
}

int uvm_alloc_alloc(struct uvm_allocator *allocator, uint64_t *start, uint64_t length, unsigned int flags,
		    struct uvm_alloc_handle **handle)
{
	struct uvm_alloc_handle *new;
	int rc;

	if (flags & ~UVM_ALLOCATOR_FIXED || (flags && *start == UVM_UNSPECIFIED_START))
		return UVM_MEM_INVALID_ARGUMENT;
	new = calloc(1, sizeof(*new));
	if (!new)
		return UVM_MEM_NO_MEMORY;
	pthread_mutex_lock(&allocator->lock);
	rc = fill_handle(new, allocator, start, length, flags);
	pthread_mutex_unlock(&allocator->lock);
	if (rc < 0) {
		free(new);
		return rc;
	}
	new->references = 1;
	new->allocator = uvm_alloc_ref(allocator);
	*handle = new;
	return 0;
}

struct uvm_alloc_handle *uvm_alloc_handle_ref(struct uvm_alloc_handle *handle)
{
	count_up(&handle->references);
	return handle;
}

void uvm_alloc_handle_unref(struct uvm_alloc_handle *handle)
{
	if (!handle || !count_down(&handle->references))
		return;
	pthread_mutex_lock(&handle->allocator->lock);
	for (size_t i = 0; i < handle->held.count; i++)
		extents_give(handle->allocator->extents, handle->held.items[i].start,
			     region_bytes(handle->held.items[i]), NULL, NULL);
	pthread_mutex_unlock(&handle->allocator->lock);
	uvm_alloc_unref(handle->allocator);
	region_vec_free(&handle->held);
	free(handle);
}

int uvm_alloc_handle_get_regions(struct uvm_alloc_handle *handle, struct uvm_region *regions, size_t capacity,
				 size_t *count)
{
	pthread_mutex_lock(&handle->allocator->lock);
	*count = handle->held.count;
	for (size_t i = 0; i < handle->held.count && i < capacity; i++)
		regions[i] = (struct uvm_region){handle->held.items[i].start, handle->held.items[i].end - 1};
	pthread_mutex_unlock(&handle->allocator->lock);
	return 0;
}

/* What would be left: worked out beside, so that nothing has changed when memory does not suffice. */
static int subtract_parts(const struct region_vec *held, const struct region_vec *parts, struct region_vec *left)
{
	for (size_t i = 0; i < held->count; i++)
		if (region_vec_push(left, held->items[i]))
			return UVM_MEM_NO_MEMORY;
	for (size_t i = 0; i < parts->count; i++) {
		const struct region *around = region_vec_find(left, parts->items[i].start);

		if (!around || !region_contains(*around, parts->items[i]))
			return UVM_MEM_INVALID_ARGUMENT;
		if (region_vec_remove(left, parts->items[i]))
			return UVM_MEM_NO_MEMORY;
	}
	return 0;
}

static int give_all(struct extents *extents, const struct region_vec *parts)
{
	for (size_t i = 0; i < parts->count; i++) {
		if (extents_give(extents, parts->items[i].start, region_bytes(parts->items[i]), NULL, NULL) == 0)
			continue;
		while (i--)
			extents_take_at(extents, parts->items[i].start, region_bytes(parts->items[i]));
		return UVM_MEM_NO_MEMORY;
	}
	return 0;
}

static int free_parts(struct uvm_alloc_handle *handle, const struct region_vec *parts)
{
	struct region_vec left = {0};
	int rc = subtract_parts(&handle->held, parts, &left);

	if (rc == 0)
		rc = give_all(handle->allocator->extents, parts);
	if (rc < 0) {
		region_vec_free(&left);
		return rc;
	}
	region_vec_free(&handle->held);
	handle->held = left;
	return 0;
}

int uvm_alloc_handle_free(struct uvm_alloc_handle *handle, const struct uvm_region *regions, size_t count)
{
	_cleanup_regions_ struct region_vec parts = {0};
	int rc;

	pthread_mutex_lock(&handle->allocator->lock);
	rc = read_regions(regions, count, handle->allocator->block, &parts);
	if (rc == 0)
		rc = free_parts(handle, &parts);
	pthread_mutex_unlock(&handle->allocator->lock);
	return rc;
}
