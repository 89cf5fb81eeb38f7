/* SPDX-License-Identifier: MIT */
/* Half-open address regions, and vectors of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the addresses end that a process gets without asking for higher ones (x86-64; page aligned). */
#define ADDRESSES_END UINT64_C(0x7ffffffff000)

/* start <= x < end; bytes, any alignment. Empty when start == end. */
struct region {
	uint64_t start;
	uint64_t end;
};

/* A growable array of regions. All zeros is an empty vector. */
struct region_vec {
	struct region *items;
	size_t count;
	size_t capacity;
};

static inline struct region region_at(uint64_t start, uint64_t bytes)
{
	return (struct region){start, start + bytes};
}

static inline uint64_t region_bytes(struct region r)
{
	return r.end - r.start;
}

static inline bool region_overlaps(struct region a, struct region b)
{
	return a.start < b.end && b.start < a.end;
}

static inline bool region_contains(struct region outer, struct region inner)
{
	return outer.start <= inner.start && inner.end <= outer.end;
}

/*
 * The region from `first` to `last`, both inclusive. Returns 0, or -EINVAL when it is reversed or ends with the last
 * byte of all, where a half-open one cannot.
 */
int region_from_inclusive(uint64_t first, uint64_t last, struct region *region);

/* The common part; empty (start == end) when there is none. */
struct region region_intersect(struct region a, struct region b);

/*
 * Parses "START-END" (hexadecimal, as in /proc/PID/maps, "0x" allowed) or "START+SIZE" (the size as size_parse takes
 * it). Returns 0 or -EINVAL (also for an empty or reversed one).
 */
int region_parse(const char *text, struct region *region);

/* Appends one region. Returns 0 or -ENOMEM. */
int region_vec_push(struct region_vec *vec, struct region region);

/* The same, joined to the last one where they touch. */
int region_vec_append(struct region_vec *vec, struct region region);

/* Frees the array; the vector is empty afterwards. */
void region_vec_free(struct region_vec *vec);

/* Sorts by start address. */
void region_vec_sort(struct region_vec *vec);

/* Sorts, drops empty ones, and joins those that touch or overlap. */
void region_vec_normalize(struct region_vec *vec);

/*
 * The next four take a vector that region_vec_normalize would leave as it is, and keep it so; O(log n) but for moving
 * what lies behind.
 */

/* The region that holds an address, or NULL. Valid until the vector changes. */
const struct region *region_vec_find(const struct region_vec *vec, uint64_t address);

/* Whether any region has a part in common with this one. */
bool region_vec_overlaps(const struct region_vec *vec, struct region region);

/* Adds a region, joining those it touches or overlaps. An empty one changes nothing. Returns 0 or -ENOMEM. */
int region_vec_insert(struct region_vec *vec, struct region region);

/*
 * Takes a region out of whatever it overlaps. Returns 0 or -ENOMEM (it lay inside one, which has to become two; nothing
 * changed).
 */
int region_vec_remove(struct region_vec *vec, struct region region);

/* Index of the first pair of overlapping regions in a sorted vector, or -1. */
ptrdiff_t region_vec_overlap(const struct region_vec *vec);

/*
 * Writes to out the parts of `of` that lie inside `within` (both sorted, without overlaps), in order.
 * Returns 0 or -ENOMEM.
 */
int region_vec_intersect(const struct region_vec *of, const struct region_vec *within, struct region_vec *out);

/*
 * Appends the parts of `within` that no region of a vector covers, in order; the vector is as region_vec_normalize
 * leaves it. Returns 0 or -ENOMEM.
 */
int region_vec_gaps(const struct region_vec *vec, struct region within, struct region_vec *out);

#define _cleanup_regions_ __attribute__((cleanup(region_vec_free)))
