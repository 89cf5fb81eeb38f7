/* SPDX-License-Identifier: MIT */
/* One list of everything that has a name. */
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "uffd/uapi.h"

/* What UFFDIO_REGISTER may offer for a range; -1 stands for registering it at all. */
static const int range_ioctls[] = {-1,
				   _UFFDIO_WAKE,
				   _UFFDIO_COPY,
				   _UFFDIO_ZEROPAGE,
				   _UFFDIO_MOVE,
				   _UFFDIO_WRITEPROTECT,
				   _UFFDIO_CONTINUE,
				   _UFFDIO_POISON,
				   _UFFDIO_RWPROTECT};

const char *capability_kind_name(enum capability_kind kind)
{
	static const char *const names[] = {"route", "feature", "ioctl", "facility"};

	return names[kind];
}

static void set_name(struct capability *capability, const char *name)
{
	snprintf(capability->name, sizeof(capability->name), "%s", name);
}

static void set_memory(struct capability *capability, size_t position)
{
	size_t ioctl = position % ARRAY_SIZE(range_ioctls);
	const char *slash;

	position /= ARRAY_SIZE(range_ioctls);
	capability->kind = CAPABILITY_MEMORY;
	capability->index = (unsigned int)(position / UFFD_NAMED_MODES);
	capability->mode = (unsigned int)(position % UFFD_NAMED_MODES);
	capability->ioctl = range_ioctls[ioctl];
	slash = capability->ioctl < 0 ? "" : "/";
	snprintf(capability->name, sizeof(capability->name), "%s/%s%s%s", uffd_memory_name(capability->index),
		 uffd_mode_names[capability->mode], slash, *slash ? uffd_ioctl_names[capability->ioctl] : "");
}

bool capability_at(size_t position, struct capability *capability)
{
	const size_t memories = (size_t)UFFD_MEMORIES * UFFD_NAMED_MODES * ARRAY_SIZE(range_ioctls);

	*capability = (struct capability){.kind = CAPABILITY_ROUTE, .index = (unsigned int)position, .ioctl = -1};
	if (position < UFFD_ROUTES) {
		set_name(capability, uffd_route_name(capability->index));
		return true;
	}
	position -= UFFD_ROUTES;
	capability->kind = CAPABILITY_FEATURE;
	capability->index = (unsigned int)position;
	if (position < UFFD_NAMED_FEATURES) {
		set_name(capability, uffd_feature_names[position]);
		return true;
	}
	position -= UFFD_NAMED_FEATURES;
	capability->kind = CAPABILITY_FACILITY;
	capability->index = (unsigned int)position;
	if (position < FACILITIES) {
		set_name(capability, facilities[position].name);
		return true;
	}
	position -= FACILITIES;
	if (position >= memories)
		return false;
	set_memory(capability, position);
	return true;
}

int capability_find(const char *name, struct capability *capability)
{
	int bit = uffd_feature_bit(name);
	struct capability candidate;
	unsigned int best = UINT32_MAX;

	if (bit >= UFFD_NAMED_FEATURES) {
		*capability = (struct capability){.kind = CAPABILITY_FEATURE, .index = (unsigned int)bit, .ioctl = -1};
		set_name(capability, name);
		return 0;
	}
	for (size_t i = 0; best && capability_at(i, &candidate); i++) {
		unsigned int distance = strcmp(name, candidate.name) ? cli_distance(name, candidate.name) + 1 : 0;

		if (distance < best) {
			best = distance;
			*capability = candidate;
		}
	}
	return best ? -EINVAL : 0;
}

bool capability_usable(const struct capability *capability, const struct findings *findings)
{
	const struct uffd_offer *offer;

	switch (capability->kind) {
	case CAPABILITY_ROUTE:
		return !findings->route[capability->index];
	case CAPABILITY_FACILITY:
		return !findings->facility[capability->index];
	case CAPABILITY_FEATURE:
		return findings->asked && !findings->feature[capability->index];
	default:
		offer = &findings->memory[capability->index][capability->mode];
		return findings->asked && !offer->code &&
		       (capability->ioctl < 0 || offer->ioctls >> capability->ioctl & 1);
	}
}
