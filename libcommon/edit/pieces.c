/* SPDX-License-Identifier: MIT */
/* Looking before changing. */
#include "edit/pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "access/places.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "inject/area.h"
#include "proc/smaps.h"
#include "puppet/copy.h"

#define FORCE "--force does it all the same"

static int push_piece(struct pieces *pieces, const struct edit_piece *piece)
{
	if (piece->part.start >= piece->part.end)
		return 0;
	if (array_reserve(&pieces->items, pieces->count, &pieces->capacity) < 0)
		return -ENOMEM;
	pieces->items[pieces->count++] = *piece;
	return 0;
}

void pieces_free(struct pieces *pieces)
{
	free(pieces->items);
	*pieces = (struct pieces){0};
}

/* Where the walk over regions and mappings has come to. */
struct walk {
	int mem_fd; /* /proc/PID/mem */
	const struct region_vec *regions;
	size_t next; /* the region */
	uint64_t at; /* in it: what is below is done */
	struct pieces *pieces;
};

/* What lies below `end` and was not covered by a mapping. */
static int push_holes(struct walk *walk, uint64_t end)
{
	const struct region_vec *regions = walk->regions;

	for (; walk->next < regions->count && regions->items[walk->next].start < end; walk->next++) {
		struct region region = regions->items[walk->next];
		struct edit_piece hole = {.part = {max_u64(walk->at, region.start), min_u64(region.end, end)}};
		int rc = push_piece(walk->pieces, &hole);

		if (rc < 0)
			return rc;
		walk->at = max_u64(walk->at, hole.part.end);
		if (region.end > end)
			break;
	}
	return 0;
}

/*
 * By name, or, where the kernel keeps no names of anonymous memory, by the code: a control area is two mappings, and
 * the trampoline begins the second; of what a puppet stands in, its code is the first page.
 */
static bool is_our_piece(const struct walk *walk, const struct edit_piece *piece)
{
	const struct mapping *mapping = &piece->mapping;

	if (mapping_has_our_name(mapping))
		return true;
	if (!piece->kept || mapping->kind != MAPPING_ANON)
		return false;
	return inject_is_trampoline(walk->mem_fd, mapping->execute ? mapping->region.start : mapping->region.end) ||
	       inject_copy_lies_at(walk->mem_fd, mapping->region.start - (mapping->execute ? 0 : page_size()));
}

static int push_mapping(struct walk *walk, const struct mapping *mapping, const char *flags)
{
	const struct region_vec *regions = walk->regions;
	struct edit_piece piece = {
		.mapped = true,
		.registered = vm_flags_have(flags, "um uw ui"),
		.locked = vm_flags_have(flags, "lo lf"),
		.kept = vm_flags_have(flags, "dc"),
		.mapping = *mapping,
	};

	piece.ours = is_our_piece(walk, &piece);
	for (;;) {
		int rc = push_holes(walk, mapping->region.start);

		if (rc < 0 || walk->next == regions->count)
			return rc;
		piece.part = region_intersect(regions->items[walk->next], mapping->region);
		if (piece.part.start >= piece.part.end)
			return 0;
		rc = push_piece(walk->pieces, &piece);
		if (rc < 0)
			return rc;
		walk->at = piece.part.end;
		if (regions->items[walk->next].end > mapping->region.end)
			return 0;
		walk->next++;
	}
}

int pieces_read(const struct target *target, const struct inject *inject, const struct region_vec *regions,
		struct pieces *pieces)
{
	_cleanup_close_ int mem_fd = target_proc_open(target, "mem", O_RDONLY);
	struct walk walk = {.mem_fd = mem_fd, .regions = regions, .pieces = pieces};
	struct maps_reader smaps;
	struct mapping mapping;
	const char *flags;
	int rc = smaps_open(&smaps, target);

	*pieces = (struct pieces){0};
	if (rc < 0)
		return rc;
	while (walk.next < regions->count && (rc = smaps_next(&smaps, &mapping, &flags)) > 0) {
		if (inject && region_overlaps(mapping.region, inject->area))
			continue;
		rc = push_mapping(&walk, &mapping, flags);
		if (rc < 0)
			break;
	}
	maps_close(&smaps);
	if (rc >= 0)
		rc = push_holes(&walk, UINT64_MAX);
	if (rc < 0)
		pieces_free(pieces);
	return rc;
}

static bool loses_access(const struct mapping *mapping, unsigned int takes)
{
	return (takes & TAKES_READ && mapping->read) || (takes & TAKES_WRITE && mapping->write) ||
	       (takes & TAKES_EXEC && mapping->execute) || takes & TAKES_ALL;
}

/* Why a piece is left alone no matter what runs there, or NULL. */
static const char *relied_on(const struct edit_piece *piece)
{
	if (strcmp(piece->mapping.name, "[stack]") == 0)
		return "it is the stack of the main thread";
	if (piece->mapping.kind == MAPPING_SPECIAL && piece->mapping.name[0] == '[')
		return "the kernel has mapped it for the process";
	if (piece->kept)
		return "it is kept from children (MADV_DONTFORK): a device may write to it";
	return NULL;
}

static bool holds_address(const struct edit_piece *piece, uint64_t address)
{
	return address >= piece->mapping.region.start && address < piece->mapping.region.end;
}

static int refuse_piece(const struct edit_piece *piece, const char *why, const char *hint, const char *what,
			struct error *error)
{
	return error_set(error, -EINVAL, why, hint, "%s %#" PRIx64 "-%#" PRIx64 " (%s)", what, piece->part.start,
			 piece->part.end, *piece->mapping.name ? piece->mapping.name : "anonymous");
}

static int check_places(const struct edit_piece *piece, const struct place *places, size_t count, const char *what,
			struct error *error)
{
	char why[80];

	for (size_t i = 0; i < count; i++) {
		if (!holds_address(piece, places[i].ip) && !holds_address(piece, places[i].sp))
			continue;
		snprintf(why, sizeof(why),
			 holds_address(piece, places[i].ip) ? "thread %d executes it" : "thread %d has its stack in it",
			 places[i].tid);
		return refuse_piece(piece, why, FORCE, what, error);
	}
	return 0;
}

/* What is never done, --force or not. */
static int check_taboo(const struct edit_piece *piece, const struct inject *inject, unsigned int takes,
		       const char *what, struct error *error)
{
	const char *name = piece->mapping.name;

	if (piece->ours)
		return refuse_piece(piece, "it is an area of uvmtools", "see swapctl status, and detach first", what,
				    error);
	if (piece->registered)
		return refuse_piece(piece, "it is registered with a userfaultfd: pages of it may be out",
				    "see swapctl status, and detach first", what, error);
	if (loses_access(&piece->mapping, takes) &&
	    (inject ? holds_address(piece, inject->gadget) : strcmp(name, "[vdso]") == 0))
		return refuse_piece(piece, "system calls are injected by way of it", NULL, what, error);
	return 0;
}

static int check_piece(const struct edit_piece *piece, const struct inject *inject, unsigned int takes, bool force,
		       const char *what, struct error *error)
{
	int rc = check_taboo(piece, inject, takes, what, error);
	const char *why = force ? NULL : relied_on(piece);

	return rc < 0 || !why ? rc : refuse_piece(piece, why, FORCE, what, error);
}

int pieces_check(const struct pieces *pieces, const struct target *target, struct inject *inject, unsigned int takes,
		 bool force, const char *what, struct error *error)
{
	_cleanup_free_ struct place *places = NULL;
	size_t count = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < pieces->count; i++)
		if (pieces->items[i].mapped)
			rc = check_piece(&pieces->items[i], inject, takes, force, what, error);
	if (rc < 0 || !takes || force)
		return rc;
	rc = places_read(target, inject, &places, &count);
	if (rc < 0)
		return error_set(error, rc, rc == -ETIMEDOUT ? "a thread does not stop to be asked" : NULL,
				 "--force does not ask", "find the threads of process %d", target->pid);
	for (size_t i = 0; rc == 0 && i < pieces->count; i++)
		if (pieces->items[i].mapped && loses_access(&pieces->items[i].mapping, takes))
			rc = check_places(&pieces->items[i], places, count, what, error);
	return rc;
}
