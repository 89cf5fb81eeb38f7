/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a process were used, by the kernel's idle page tracking: a bit a page frame, which is set here and
 * cleared when the page is used (Documentation/admin-guide/mm/idle_page_tracking.rst).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/region.h"

#define IDLE_BITMAP "/sys/kernel/mm/page_idle/bitmap"

/*
 * A bitmap, 64 frames a word. `read` and `mark` return 0 or -errno; mark sets bits, and clears none. `is_tail`: whether
 * a frame is part of a huge page, and not the first one; false where that is not known.
 */
struct idle_bits {
	int (*read)(void *context, uint64_t word, uint64_t *bits);
	int (*mark)(void *context, uint64_t word, uint64_t bits);
	bool (*is_tail)(void *context, uint64_t frame);
	void *context;
};

struct idle {
	int fd;       /* of the bitmap; -1 */
	int flags_fd; /* of /proc/kpageflags; -1 */
	int pagemap_fd;
	struct idle_bits bits;
};

/*
 * Tries whether the kernel has a bitmap and shows frames in `pagemap_fd`, which is borrowed. The caller closes it.
 * Returns 0, or -errno: -ENOENT (CONFIG_IDLE_PAGE_TRACKING), -EPERM or -EACCES (CAP_SYS_ADMIN).
 */
int idle_open(struct idle *idle, int pagemap_fd);
void idle_close(struct idle *idle);

/* Pages that were used since the last look. A value other than 0 ends the look and is returned by it. */
typedef int (*idle_fn)(void *context, struct region used);

/*
 * Looks at the resident pages of a region (page aligned, in one mapping) and begins anew with them. At the first look
 * at a page it counts as used. A page that the kernel does not track, such as one that is being reclaimed, counts as
 * not used; the pages of a huge one share the bit of its first one. About a microsecond a page: the kernel goes through
 * all its mappings. Returns 0, what the callback returned, or -errno (-ESRCH: the address space is gone).
 */
int idle_look(const struct idle *idle, struct region region, idle_fn callback, void *context);

/* Resident pages, in order, none of which is idle or all of which are. A value other than 0 ends the look. */
typedef int (*idle_find_fn)(void *context, struct region pages, bool idle);

/*
 * Finds which resident pages of such a region were used by no process since the last idle_look, and begins nothing:
 * each of several processes can be asked of a page that they share. A page that the kernel does not track is not idle,
 * but for those of a huge one behind its first page. Returns as idle_look.
 */
int idle_find(const struct idle *idle, struct region region, idle_find_fn callback, void *context);
