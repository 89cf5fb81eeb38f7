/* SPDX-License-Identifier: MIT */
/* The region allocator of the store and of <uvm/space.h>: free extents by offset and by size, best fit, O(log n). */
#pragma once

#include <stdint.h>

struct extents;

/* An allocator over [0, size) bytes (0: nothing yet), everything free. Returns 0 or -ENOMEM. */
int extents_new(struct extents **extents, uint64_t size);
void extents_free(struct extents *extents);

/*
 * Gives the allocator [offset, offset + length) too, all of it free. Returns 0, -EEXIST when it has part of that
 * already, -EINVAL (empty, or too far), -ENOMEM.
 */
int extents_add(struct extents *extents, uint64_t offset, uint64_t length);

/*
 * Takes away again what extents_add gave. Returns 0, -EBUSY when not all of it is free, -EINVAL, -ENOMEM (nothing
 * changed).
 */
int extents_remove(struct extents *extents, uint64_t offset, uint64_t length);

/*
 * Takes the smallest free extent that holds `length` bytes, lowest offset first among equals. Returns 0, -ENOSPC,
 * -EINVAL (length 0), -ENOMEM.
 */
int extents_take(struct extents *extents, uint64_t length, uint64_t *offset);

/* Takes exactly [offset, offset + length). Returns 0, -EBUSY when not all of it is free, -EINVAL, -ENOMEM. */
int extents_take_at(struct extents *extents, uint64_t offset, uint64_t length);

/*
 * Gives [offset, offset + length) back and joins it with its free neighbours; *free_offset and *free_length (may be
 * NULL) tell the whole free extent around it. Returns 0, -EINVAL when part of it is free already or outside, -ENOMEM
 * (nothing changed).
 */
int extents_give(struct extents *extents, uint64_t offset, uint64_t length, uint64_t *free_offset,
		 uint64_t *free_length);

/* Bytes that are free. */
uint64_t extents_available(const struct extents *extents);
