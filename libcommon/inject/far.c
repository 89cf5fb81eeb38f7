/* SPDX-License-Identifier: MIT */
/* A place for our memory, far from what the program has mapped. */
#include "inject/far.h"

#include <errno.h>
#include <sys/random.h>

#include "base/size.h"
#include "proc/maps.h"

#define FAR_ALIGN (2 * MiB)
#define LOWEST    (4 * GiB) /* below it lies what 32-bit addresses reach (MAP_32BIT) */

static int widest_gap(const struct target *target, struct region *widest)
{
	struct maps_reader maps;
	struct mapping mapping;
	uint64_t end = LOWEST;
	int rc = maps_open(&maps, target);

	*widest = (struct region){0, 0};
	if (rc < 0)
		return rc;
	while ((rc = maps_next(&maps, &mapping)) > 0 && !mapping_is_kernels(&mapping)) {
		if (mapping.region.start > end && mapping.region.start - end > region_bytes(*widest))
			*widest = (struct region){end, mapping.region.start};
		end = max_u64(end, mapping.region.end);
	}
	maps_close(&maps);
	return rc < 0 ? rc : 0;
}

int far_choose(const struct target *target, uint64_t bytes, uint64_t *at)
{
	struct region gap;
	uint64_t middle;
	uint64_t random = 0;
	int rc = widest_gap(target, &gap);

	if (rc < 0)
		return rc;
	middle = region_bytes(gap) / 2;
	if (middle <= bytes + FAR_ALIGN)
		return -ENOMEM;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	*at = round_up(gap.start + middle / 2 + random % (middle - bytes - FAR_ALIGN), FAR_ALIGN);
	return 0;
}
