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

const char *thing_kind_name(enum thing_kind kind)
{
	static const char *const names[] = {"route", "feature", "ioctl", "neighbour"};

	return names[kind];
}

static void set_name(struct thing *thing, const char *name)
{
	snprintf(thing->name, sizeof(thing->name), "%s", name);
}

static void set_memory(struct thing *thing, size_t position)
{
	size_t ioctl = position % ARRAY_SIZE(range_ioctls);
	const char *slash;

	position /= ARRAY_SIZE(range_ioctls);
	thing->kind = THING_MEMORY;
	thing->index = (unsigned int)(position / UFFD_NAMED_MODES);
	thing->mode = (unsigned int)(position % UFFD_NAMED_MODES);
	thing->ioctl = range_ioctls[ioctl];
	slash = thing->ioctl < 0 ? "" : "/";
	snprintf(thing->name, sizeof(thing->name), "%s/%s%s%s", uffd_memory_name(thing->index),
		 uffd_mode_names[thing->mode], slash, *slash ? uffd_ioctl_names[thing->ioctl] : "");
}

bool thing_at(size_t position, struct thing *thing)
{
	const size_t memories = (size_t)UFFD_MEMORIES * UFFD_NAMED_MODES * ARRAY_SIZE(range_ioctls);

	*thing = (struct thing){.kind = THING_ROUTE, .index = (unsigned int)position, .ioctl = -1};
	if (position < UFFD_ROUTES) {
		set_name(thing, uffd_route_name(thing->index));
		return true;
	}
	position -= UFFD_ROUTES;
	thing->kind = THING_FEATURE;
	thing->index = (unsigned int)position;
	if (position < UFFD_NAMED_FEATURES) {
		set_name(thing, uffd_feature_names[position]);
		return true;
	}
	position -= UFFD_NAMED_FEATURES;
	thing->kind = THING_NEIGHBOUR;
	thing->index = (unsigned int)position;
	if (position < NEIGHBOURS) {
		set_name(thing, neighbours[position].name);
		return true;
	}
	position -= NEIGHBOURS;
	if (position >= memories)
		return false;
	set_memory(thing, position);
	return true;
}

int thing_find(const char *name, struct thing *thing)
{
	int bit = uffd_feature_bit(name);
	struct thing candidate;
	unsigned int best = UINT32_MAX;

	if (bit >= UFFD_NAMED_FEATURES) {
		*thing = (struct thing){.kind = THING_FEATURE, .index = (unsigned int)bit, .ioctl = -1};
		set_name(thing, name);
		return 0;
	}
	for (size_t i = 0; best && thing_at(i, &candidate); i++) {
		unsigned int distance = strcmp(name, candidate.name) ? cli_distance(name, candidate.name) + 1 : 0;

		if (distance < best) {
			best = distance;
			*thing = candidate;
		}
	}
	return best ? -EINVAL : 0;
}

bool thing_usable(const struct thing *thing, const struct findings *findings)
{
	const struct uffd_offer *offer;

	switch (thing->kind) {
	case THING_ROUTE:
		return !findings->route[thing->index];
	case THING_NEIGHBOUR:
		return !findings->neighbour[thing->index];
	case THING_FEATURE:
		return findings->asked && !findings->feature[thing->index];
	default:
		offer = &findings->memory[thing->index][thing->mode];
		return findings->asked && !offer->code && (thing->ioctl < 0 || offer->ioctls >> thing->ioctl & 1);
	}
}
