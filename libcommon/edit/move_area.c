/* SPDX-License-Identifier: MIT */
/* Memory in the target for moved pages to lie in. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/size.h"
#include "edit/move_parts.h"
#include "inject/area.h"
#include "inject/far.h"
#include "proc/maps.h"

#define ALIGN (2 * MiB)

/* Address space for a source, as far from a multiple of 2 MiB as it is, so that huge pages stay whole. */
static int64_t reserve_area(struct mover *mover, struct region source, uint64_t place)
{
	uint64_t bytes = region_bytes(source), before = source.start % ALIGN;
	int64_t at = inject_map_far(&mover->access.inject, place, before + bytes, PROT_NONE, MAP_NORESERVE);
	int64_t rc;

	if (inject_failed(at))
		return at;
	rc = inject_unmap(&mover->access.inject, region_at((uint64_t)at, before));
	return rc < 0 ? rc : at + (int64_t)before;
}

/* Gives each part the protection of the mapping that it is for. What breaks a rule stays closed. */
static int64_t open_parts(struct mover *mover, struct region source, uint64_t destination)
{
	struct move_piece piece = {0};
	int64_t rc = 0;

	for (uint64_t at = source.start; rc == 0 && at < source.end; at += piece.bytes) {
		rc = move_piece_at(mover, at, 0, source.end - at, &piece);
		if (rc == 0 && !piece.rule)
			rc = inject_call3(&mover->access.inject, SYS_mprotect, destination + (at - source.start),
					  piece.bytes, (uint64_t)piece.protection);
	}
	return rc;
}

int mover_map(struct mover *mover, struct region source, uint64_t *destination, struct error *error)
{
	struct inject *inject = &mover->access.inject;
	uint64_t place;
	int64_t rc = far_choose(mover->target, region_bytes(source) + ALIGN, &place), at;

	if (rc < 0)
		return error_set(error, (int)rc, NULL, NULL, "find room for a destination in process %d",
				 mover->target->pid);
	rc = inject_begin(inject, error);
	if (rc < 0)
		return (int)rc;
	at = reserve_area(mover, source, place);
	rc = inject_failed(at) ? at : open_parts(mover, source, (uint64_t)at);
	if (rc < 0 && !inject_failed(at))
		inject_unmap(inject, region_at((uint64_t)at, region_bytes(source)));
	if (rc == 0)
		inject_name(inject, region_at((uint64_t)at, region_bytes(source)), "uvm-moved");
	if (inject->tid && inject_end(inject) < 0 && rc == 0)
		rc = -ESRCH;
	if (rc < 0)
		return error_set(error, (int)rc, rc == -ESRCH ? "the process has ended" : NULL,
				 rc == -ENOMEM ? "its address space or mapping count is at a limit" : NULL,
				 "map a destination in process %d", mover->target->pid);
	*destination = (uint64_t)at;
	return 0;
}

/* Whether all of a region is private anonymous memory without a page. */
static int is_empty(const struct mover *mover, struct region region)
{
	struct mapping mapping;
	uint64_t bytes = 0;
	int rc;

	for (uint64_t at = region.start; at < region.end; at = mapping.region.end) {
		rc = mapping_at(mover->maps_fd, at, &mapping);
		if (rc < 0)
			return rc;
		if (!rc || mapping.kind != MAPPING_ANON || mapping.shared)
			return -EBUSY;
		rc = move_populated(mover, region_intersect(region, mapping.region), &bytes);
		if (rc || bytes)
			return rc ? rc : -EBUSY;
	}
	return 0;
}

int mover_unmap(struct mover *mover, struct region region)
{
	struct error ignored = {0};
	int64_t rc = is_empty(mover, region);

	if (rc == 0)
		rc = inject_begin(&mover->access.inject, &ignored);
	if (rc < 0)
		return (int)rc;
	rc = inject_unmap(&mover->access.inject, region);
	if (mover->access.inject.tid)
		inject_end(&mover->access.inject);
	return (int)rc;
}
