/* SPDX-License-Identifier: MIT */
/* Arrays that grow by an item at a time. */
#pragma once

#include <errno.h>
#include <stddef.h>

/*
 * Makes room for one more item: array_reserve(&vec->items, vec->count, &vec->capacity). An array of none is NULL with
 * capacity 0; free(3) frees it. Returns 0, or -ENOMEM and all as it was.
 */
#define array_reserve(items, count, capacity)                                                   \
	({                                                                                      \
		void *reserved_ = array_grow(*(items), (count), (capacity), sizeof(**(items))); \
		if (reserved_)                                                                  \
			*(items) = reserved_;                                                   \
		reserved_ ? 0 : -ENOMEM;                                                        \
	})

/*
 * The array with room for more than `count` items of so many bytes each: twice as many as before when it was full.
 * Returns it, or NULL: it is as it was.
 */
void *array_grow(void *items, size_t count, size_t *capacity, size_t item_bytes);
