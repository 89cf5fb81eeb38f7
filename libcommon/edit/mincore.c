/* SPDX-License-Identifier: MIT */
/* mincore(2) inside a target, a scratch area full at a time. */
#include "edit/mincore.h"

#include <sys/syscall.h>

#include "base/size.h"

int inject_mincore(void *context, struct region region, unsigned char *vec)
{
	struct inject *inject = context;
	struct error error = {0};
	uint64_t page = page_size();
	int64_t rc = inject_begin(inject, &error);

	for (uint64_t at = region.start; rc == 0 && at < region.end;) {
		uint64_t pages = min_u64(INJECT_SCRATCH, (region.end - at) / page);

		rc = inject_call3(inject, SYS_mincore, at, pages * page, inject->scratch);
		if (rc == 0)
			rc = inject_read(inject, inject->scratch, vec, pages);
		vec += pages;
		at += pages * page;
	}
	if (inject->tid)
		inject_end(inject);
	return (int)rc;
}
