/* SPDX-License-Identifier: MIT */
#include "base/array.h"

#include <stdlib.h>

#define FIRST 16 /* items */

void *array_grow(void *items, size_t count, size_t *capacity, size_t item_bytes)
{
	size_t wanted = *capacity ? 2 * *capacity : FIRST;
	void *grown;

	if (count < *capacity)
		return items;
	grown = reallocarray(items, wanted, item_bytes);
	if (grown)
		*capacity = wanted;
	return grown;
}
