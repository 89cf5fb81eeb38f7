/* SPDX-License-Identifier: MIT */
/* What the program calls: large blocks go to heap.c, everything else to the program's own allocator. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "heap.h"
#include "real.h"
#include "table.h"

#define EXPORT  __attribute__((visibility("default")))
#define ALIGNED 16 /* as malloc(3) has it for any type */

static struct heap_block *block_of(const void *at)
{
	return table_find((uintptr_t)at);
}

static void *real_malloc(size_t size)
{
	const struct real *r = real();

	return r ? r->malloc(size) : start_allocate(size, ALIGNED);
}

/* Without memory for a mapping the program's allocator may still have some; otherwise it says what is to be said. */
EXPORT void *malloc(size_t size)
{
	void *at = size >= heap_limits.min ? heap_allocate(size, ALIGNED, false) : NULL;

	return at ? at : real_malloc(size);
}

EXPORT void *calloc(size_t nmemb, size_t size)
{
	const struct real *r;
	void *at = NULL;
	size_t all;

	if (__builtin_mul_overflow(nmemb, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	if (all >= heap_limits.min)
		at = heap_allocate(all, ALIGNED, true);
	if (at)
		return at;
	r = real();
	return r ? r->calloc(nmemb, size) : start_allocate(all, ALIGNED);
}

EXPORT void free(void *ptr)
{
	struct heap_block *block = ptr ? block_of(ptr) : NULL;
	const struct real *r;
	int before;

	if (!block) {
		r = ptr && !start_owns(ptr) ? real() : NULL;
		if (r)
			r->free(ptr);
		return;
	}
	before = errno;
	if (table_clear(block) == 0)
		heap_release(block);
	errno = before;
}

static void *move_to_real(struct heap_block *block, void *at, size_t size)
{
	void *to = real_malloc(size ? size : 1);

	if (!to)
		return NULL;
	memcpy(to, at, size);
	if (table_clear(block) == 0)
		heap_release(block);
	return size ? to : real()->realloc(to, 0); /* what that means is for the program's allocator to say */
}

static void *move_to(void *at, size_t size, size_t used)
{
	void *to = malloc(size);

	if (!to)
		return NULL;
	memcpy(to, at, used < size ? used : size);
	free(at);
	return to;
}

/* A block of the program's allocator, which becomes a large one when it grows into it. */
static void *resize_real(void *at, size_t size)
{
	const struct real *r = real();
	size_t used;

	if (start_owns(at))
		return move_to(at, size, start_size(at));
	if (!r)
		return NULL;
	if (size < heap_limits.min || !r->malloc_usable_size)
		return r->realloc(at, size);
	used = r->malloc_usable_size(at);
	return used < heap_limits.min ? move_to(at, size, used) : r->realloc(at, size);
}

EXPORT void *realloc(void *ptr, size_t size)
{
	struct heap_block *block = ptr ? block_of(ptr) : NULL;
	void *to;

	if (!ptr)
		return malloc(size);
	if (!block)
		return resize_real(ptr, size);
	if (size < heap_limits.min)
		return move_to_real(block, ptr, size);
	to = heap_resize(block, size);
	return to ? to : move_to(ptr, size, block->size);
}

EXPORT void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(nmemb, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(ptr, all);
}

static void *allocate_aligned(size_t alignment, size_t size)
{
	if (size < heap_limits.min || !is_power_of_two(alignment))
		return NULL;
	return heap_allocate(size, alignment > ALIGNED ? alignment : ALIGNED, false);
}

EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	bool valid = alignment % sizeof(void *) == 0 && is_power_of_two(alignment);
	void *got = valid ? allocate_aligned(alignment, size) : NULL;
	const struct real *r;

	if (got) {
		*memptr = got;
		return 0;
	}
	r = real();
	if (r)
		return r->posix_memalign(memptr, alignment, size);
	got = valid ? start_allocate(size, alignment) : NULL;
	if (got)
		*memptr = got;
	return got ? 0 : valid ? ENOMEM : EINVAL;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	void *at = allocate_aligned(alignment, size);
	const struct real *r = at ? NULL : real();

	if (at)
		return at;
	return r ? r->aligned_alloc(alignment, size) : start_allocate(size, alignment);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
	void *at = allocate_aligned(alignment, size);
	const struct real *r = at ? NULL : real();

	if (at)
		return at;
	if (r && r->memalign)
		return r->memalign(alignment, size);
	return aligned_alloc(alignment, size);
}

EXPORT void *valloc(size_t size)
{
	const struct real *r = size < heap_limits.min ? real() : NULL;

	return r && r->valloc ? r->valloc(size) : memalign(page_size(), size);
}

EXPORT void *pvalloc(size_t size)
{
	const struct real *r = size < heap_limits.min || size > PTRDIFF_MAX ? real() : NULL;

	return r && r->pvalloc ? r->pvalloc(size) : memalign(page_size(), round_up(size, page_size()));
}

EXPORT size_t malloc_usable_size(void *ptr)
{
	const struct heap_block *block = ptr ? block_of(ptr) : NULL;
	const struct real *r;

	if (!ptr || block)
		return block ? block->size : 0;
	if (start_owns(ptr))
		return start_size(ptr);
	r = real();
	return r && r->malloc_usable_size ? r->malloc_usable_size(ptr) : 0;
}

/* A program that asks for this wants to see its memory used by others. */
EXPORT int malloc_trim(size_t pad)
{
	const struct real *r = real();
	bool any = heap_trim();

	return (r && r->malloc_trim && r->malloc_trim(pad)) || any;
}

/* Of older programs, and of C23. */
EXPORT void cfree(void *ptr);
EXPORT void free_sized(void *ptr, size_t size);
EXPORT void free_aligned_sized(void *ptr, size_t alignment, size_t size);

EXPORT void cfree(void *ptr)
{
	free(ptr);
}

EXPORT void free_sized(void *ptr, size_t size)
{
	(void)size;
	free(ptr);
}

EXPORT void free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	free(ptr);
}
