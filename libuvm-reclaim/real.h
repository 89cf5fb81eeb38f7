/* SPDX-License-Identifier: MIT */
/*
 * The program's own allocator, which serves everything that is not a large block: the next in the order of the dynamic
 * linker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct real {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *at, size_t size);
	void (*free)(void *at);
	int (*posix_memalign)(void **at, size_t alignment, size_t size);
	void *(*aligned_alloc)(size_t alignment, size_t size);
	void *(*memalign)(size_t alignment, size_t size); /* NULL where there is none, as the next ones */
	void *(*valloc)(size_t size);
	void *(*pvalloc)(size_t size);
	size_t (*malloc_usable_size)(void *at);
	int (*malloc_trim)(size_t pad);
};

/*
 * Of the program's allocator; NULL while it is being looked for, which may itself allocate: then start_allocate() does.
 */
const struct real *real(void);

/*
 * A little zeroed memory for the dynamic linker, never given back. NULL and ENOMEM when there is no more. Whether an
 * address is there, and how large it is.
 */
void *start_allocate(size_t size, size_t alignment);
bool start_owns(const void *at);
size_t start_size(const void *at);
