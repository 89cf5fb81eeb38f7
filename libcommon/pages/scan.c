/* SPDX-License-Identifier: MIT */
/* PAGEMAP_SCAN as a stream of page ranges. */
#include "pages/scan.h"

#include <errno.h>

#include "base/size.h"

/*
 * The kernel holds the target's mmap lock while it looks: about a millisecond for this many bytes of resident small
 * pages.
 */
#define BYTES_A_CALL (1 * GiB)

int scan_next(struct scan *scan)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.vec = (uintptr_t)scan->ranges,
		.vec_len = SCAN_RANGES,
		.max_pages = BYTES_A_CALL / page_size(),
		.category_mask = scan->required,
		.category_anyof_mask = scan->any,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_HUGE | PAGE_IS_GUARD,
	};

	while (scan->left.start < scan->left.end) {
		uint64_t reached;
		int count;

		arg.start = scan->left.start;
		arg.end = scan->left.end;
		count = ioctl(scan->pagemap_fd, PAGEMAP_SCAN, &arg);
		if (count < 0 && errno == EINVAL && arg.return_mask & PAGE_IS_GUARD) {
			arg.return_mask &= ~(uint64_t)PAGE_IS_GUARD;
			continue;
		}
		if (count < 0)
			return -errno;
		/* walk_end can lag behind the last range when the kernel filled its own buffer more than once. */
		reached = count ? max_u64(arg.walk_end, scan->ranges[count - 1].end) : arg.walk_end;
		scan->left.start = reached > scan->left.start ? reached : scan->left.end;
		if (count)
			return count;
	}
	return 0;
}
