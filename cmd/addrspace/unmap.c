/* SPDX-License-Identifier: MIT */
/* addrspace unmap and free: memory away. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "change.h"

static int unmap_piece(struct change *change, const struct edit_piece *piece, void *context, uint64_t *reached)
{
	(void)context;
	return inject_unmap_piece(&change->inject, piece, reached);
}

/* What an allocation is: private anonymous memory that is neither the heap of brk(2) nor a stack. */
static int check_allocated(const struct pieces *pieces, struct error *error)
{
	for (size_t i = 0; i < pieces->count; i++) {
		const struct edit_piece *piece = &pieces->items[i];
		const char *why = NULL;

		if (!piece->mapped)
			continue;
		if (piece->mapping.kind != MAPPING_ANON || piece->mapping.shared)
			why = "it is not private anonymous memory";
		else if (strcmp(piece->mapping.name, "[heap]") == 0)
			why = "it is the heap that brk(2) moves";
		if (why)
			return error_set(error, -EINVAL, why, "addrspace unmap takes any mapping",
					 "free %#" PRIx64 "-%#" PRIx64 " (%s)", piece->part.start, piece->part.end,
					 *piece->mapping.name ? piece->mapping.name : "anonymous");
	}
	return 0;
}

static int unmap_regions(struct change *change, const struct region_vec *regions, bool allocated_only)
{
	_cleanup_pieces_ struct pieces pieces = {0};
	struct error error = {0};
	int rc = change_open(change, &error);

	if (rc == 0)
		rc = change_inspect(change, regions, TAKES_ALL, &pieces, &error);
	if (rc == 0 && allocated_only)
		rc = check_allocated(&pieces, &error);
	if (rc == 0)
		rc = change_pieces(change, &pieces, unmap_piece, NULL, NULL, &error);
	return change_close(change, rc, &error);
}

int verb_unmap(struct run *run)
{
	struct change change = CHANGE_OF(run, "munmap");
	struct region_vec *regions;
	int status = change_begin(run, &regions);

	return status == EXIT_DONE ? unmap_regions(&change, regions, strcmp(change.op, "free") == 0) : status;
}
