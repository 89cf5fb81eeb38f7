/* SPDX-License-Identifier: MIT */
/* Trying everything once. */
#include "findings.h"

#include <errno.h>

static void try_routes(struct findings *findings)
{
	for (unsigned int route = 0; route < UFFD_ROUTES; route++)
		findings->route[route] = uffd_route_try(route);
	findings->by = uffd_route_choose(findings->route);
	findings->asked = findings->by != UFFD_ROUTES && !uffd_try_api(findings->by, &findings->offered);
}

static void try_features(struct findings *findings)
{
	for (unsigned int bit = 0; bit < FEATURE_BITS; bit++)
		findings->feature[bit] =
			findings->offered >> bit & 1 ? uffd_try_feature(findings->by, bit) : -EOPNOTSUPP;
}

static void try_memory(struct findings *findings)
{
	uint64_t features = 0;

	for (unsigned int bit = 0; bit < FEATURE_BITS; bit++)
		features |= findings->feature[bit] ? 0 : UINT64_C(1) << bit;
	for (unsigned int memory = 0; memory < UFFD_MEMORIES; memory++)
		for (unsigned int mode = 0; mode < UFFD_NAMED_MODES; mode++)
			uffd_try_memory(findings->by, features, memory, mode, &findings->memory[memory][mode]);
}

void findings_make(struct findings *findings)
{
	*findings = (struct findings){0};
	try_routes(findings);
	if (findings->asked) {
		try_features(findings);
		try_memory(findings);
	}
	facilities_try(findings->facility);
}
