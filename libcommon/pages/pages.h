/* SPDX-License-Identifier: MIT */
/* Which pages of a region are resident: PAGEMAP_SCAN, /proc/PID/pagemap or mincore, folded into superpages. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/region.h"

enum pages_method {
	PAGES_AUTO,    /* PAGEMAP_SCAN where the kernel has it, else pagemap */
	PAGES_SCAN,    /* ioctl PAGEMAP_SCAN on /proc/PID/pagemap (Linux 6.7) */
	PAGES_PAGEMAP, /* 8 bytes a page read from /proc/PID/pagemap */
	PAGES_MINCORE, /* mincore(2), run by a function that the caller gives */
};

/* "auto", "scan", … */
const char *pages_method_name(enum pages_method method);

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT   (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED   (UINT64_C(1) << 62)
#define PAGEMAP_FILE      (UINT64_C(1) << 61) /* file page or shared anonymous */
#define PAGEMAP_GUARD     (UINT64_C(1) << 58)
#define PAGEMAP_UFFD_WP   (UINT64_C(1) << 57)
#define PAGEMAP_EXCLUSIVE (UINT64_C(1) << 56) /* mapped exactly once */

/* Whether an entry is that of a page with contents, in core or in swap; a guard counts as such. */
static inline bool pagemap_populated(uint64_t entry)
{
	return entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);
}

/*
 * Reads pagemap entries of [start, start + count pages) into entries. `pagemap_fd` is an open /proc/PID/pagemap. start:
 * page aligned. Returns 0, -ESRCH when the address space is gone (short read), or -errno.
 */
int pagemap_read(int pagemap_fd, uint64_t start, size_t count, uint64_t *entries);

/*
 * What pagemap alone cannot answer and a caller that can inject provides: vec[i] bit 0 says whether page i of the
 * region is in core. Returns 0 or -errno.
 */
typedef int (*mincore_fn)(void *context, struct region region, unsigned char *vec);

/*
 * Bytes of a region by state. huge_bytes: what a transparent huge page (a PMD) backs; UINT64_MAX where the kernel
 * cannot tell.
 */
struct residency {
	uint64_t resident;
	uint64_t swapped;
	uint64_t huge;
};

/* A source of residency for one address space. Fill in and call pages_open. */
struct pages {
	enum pages_method method; /* after pages_open: the one in use, never PAGES_AUTO */
	int pagemap_fd;           /* borrowed */
	mincore_fn mincore;       /* needed by PAGES_MINCORE */
	void *mincore_context;
	bool has_scan; /* set by pages_open */
};

/*
 * Resolves PAGES_AUTO by trying. Returns 0, -EOPNOTSUPP when the wished method is not there, -EINVAL for mincore
 * without a function.
 */
int pages_open(struct pages *pages);

/*
 * Called for each superpage (or part of one, at the edges of a region) that holds something; a value other than 0 ends
 * the walk and is returned by it.
 */
typedef int (*superpage_fn)(void *context, struct region superpage, const struct residency *residency);

/*
 * Walks the superpages of `size` bytes (a power of two, the page size at least) that overlap `region` (page aligned,
 * inside one mapping), calls back for each with resident or swapped bytes, in order. Memory is bounded, empty address
 * space costs nothing worth speaking of. `anonymous` false makes PAGES_MINCORE fall back on pagemap: for files and
 * shared memory mincore(2) tells of the page cache, not of this process. Returns 0, what the callback returned, or
 * -errno (-ESRCH: the address space is gone).
 */
int pages_superpages(const struct pages *pages, struct region region, uint64_t size, bool anonymous,
		     superpage_fn callback, void *context);
