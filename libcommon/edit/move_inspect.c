/* SPDX-License-Identifier: MIT */
/* Before and after a move: which rules the mappings break, which pages are there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "edit/move_parts.h"
#include "pages/tally.h"
#include "proc/maps.h"

#define POPULATED (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)

int move_fail(struct move_job *job, struct region source, uint64_t destination, int code, const char *rule)
{
	struct move_failure *last = job->failure_count ? &job->failures[job->failure_count - 1] : NULL;

	if (last && last->source.end == source.start && last->code == code && last->rule == rule &&
	    (!destination || last->destination + region_bytes(last->source) == destination)) {
		last->source.end = source.end;
		return 0;
	}
	if (array_reserve(&job->failures, job->failure_count, &job->failure_capacity) < 0)
		return -ENOMEM;
	job->failures[job->failure_count++] = (struct move_failure){source, destination, code, rule};
	return 0;
}

void move_job_free(struct move_job *job)
{
	free(job->failures);
	*job = (struct move_job){0};
}

int move_populated(const struct mover *mover, struct region region, uint64_t *bytes)
{
	struct pages pages = {.method = PAGES_AUTO, .pagemap_fd = mover->pagemap_fd};
	struct residency sum = {0};
	int rc = pages_open(&pages);

	if (rc == 0)
		rc = pages_sum(&pages, region, &sum);
	*bytes = sum.resident + sum.swapped;
	return rc;
}

int move_run_of(const struct mover *mover, uint64_t address, uint64_t end, uint64_t mask, uint64_t value,
		uint64_t *bytes)
{
	uint64_t entries[MOVE_PAGES_A_LOOK] = {0};
	size_t count = min_u64(MOVE_PAGES_A_LOOK, (end - address) / page_size());
	size_t run = 0;
	int rc = pagemap_read(mover->pagemap_fd, address, count, entries);

	if (rc)
		return rc;
	while (run < count && (entries[run] & mask) == value)
		run++;
	*bytes = run * page_size();
	return 0;
}

/* The mapping at an address; where there is none, an empty one that ends where the next begins. */
static int mapping_or_gap(const struct mover *mover, uint64_t address, struct mapping *mapping, bool *gap)
{
	int rc = mapping_at_or_after(mover->maps_fd, address, mapping);

	*gap = rc == 0 || (rc > 0 && mapping->region.start > address);
	if (*gap)
		mapping->region = (struct region){address, rc > 0 ? mapping->region.start : UINT64_MAX};
	return rc < 0 ? rc : 0;
}

static bool is_our_mapping(const struct mover *mover, const struct mapping *mapping)
{
	return region_overlaps(mapping->region, mover->access.inject.area) || mapping_has_our_name(mapping);
}

static const char *source_rule(const struct mover *mover, const struct mapping *mapping, bool gap)
{
	if (gap)
		return "nothing is mapped at the source";
	if (mapping->kind != MAPPING_ANON || mapping->shared)
		return "the source is not private anonymous memory";
	if (!mapping->write)
		return "the source is not writable";
	return is_our_mapping(mover, mapping) ? "the source is memory that a tool like this one keeps in the process"
					      : NULL;
}

static const char *destination_rule(const struct mover *mover, const struct mapping *mapping, bool gap)
{
	if (gap)
		return "nothing is mapped at the destination";
	if (mapping->kind != MAPPING_ANON || mapping->shared)
		return "the destination is not private anonymous memory";
	return is_our_mapping(mover, mapping)
		       ? "the destination is memory that a tool like this one keeps in the process"
		       : NULL;
}

int move_piece_at(const struct mover *mover, uint64_t source, uint64_t destination, uint64_t left,
		  struct move_piece *piece)
{
	struct mapping from, to;
	bool gap;
	int rc = mapping_or_gap(mover, source, &from, &gap);

	if (rc)
		return rc;
	*piece = (struct move_piece){.source = source, .destination = destination};
	piece->bytes = min_u64(left, from.region.end - source);
	piece->protection =
		(from.read ? PROT_READ : 0) | (from.write ? PROT_WRITE : 0) | (from.execute ? PROT_EXEC : 0);
	piece->rule = source_rule(mover, &from, gap);
	if (piece->rule || !destination)
		return 0;
	rc = mapping_or_gap(mover, destination, &to, &gap);
	if (rc)
		return rc;
	piece->bytes = min_u64(piece->bytes, to.region.end - destination);
	piece->rule = destination_rule(mover, &to, gap);
	if (!piece->rule && strcmp(from.perm, to.perm) != 0)
		piece->rule = "source and destination have different access rights";
	return 0;
}

/* The verdict of the mapping at an address. */
static enum eligibility verdict_at(const struct mover *mover, uint64_t address)
{
	struct eligible_reader reader;
	struct mapping mapping;
	enum eligibility verdict = ELIGIBLE;
	int rc = eligible_open(&reader, mover->target, NULL);

	if (rc)
		return ELIGIBLE;
	do
		rc = eligible_next(&reader, &mapping, &verdict);
	while (rc > 0 && mapping.region.end <= address);
	eligible_close(&reader);
	return rc > 0 ? verdict : ELIGIBLE;
}

const char *move_hidden_rule(const struct mover *mover, const struct move_piece *piece)
{
	bool from = verdict_at(mover, piece->source) == INELIGIBLE_LOCKED;
	bool to = verdict_at(mover, piece->destination) == INELIGIBLE_LOCKED;

	if (from == to)
		return NULL;
	return from ? "the source is locked in memory, the destination is not"
		    : "the destination is locked in memory, the source is not";
}

/* Sorts the pages of one inspection of a piece into what would move and what would not. */
static int inspect_pages(const struct mover *mover, struct move_job *job, struct region source, uint64_t destination)
{
	static const uint64_t shared_mask = PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE;
	uint64_t from[MOVE_PAGES_A_LOOK] = {0}, to[MOVE_PAGES_A_LOOK] = {0};
	size_t count = region_bytes(source) / page_size();
	int rc = pagemap_read(mover->pagemap_fd, source.start, count, from);

	if (!rc && destination)
		rc = pagemap_read(mover->pagemap_fd, destination, count, to);
	for (size_t i = 0; !rc && i < count; i++) {
		uint64_t at = source.start + i * page_size(), there = destination ? destination + i * page_size() : 0;
		bool shared = mover->method == MOVE_UFFD && (from[i] & shared_mask) == PAGEMAP_PRESENT;
		int code = 0;

		if (to[i] & POPULATED)
			code = -EEXIST;
		else if (from[i] & POPULATED)
			code = shared ? -EBUSY : 0;
		else if (!job->allow_holes && mover->method == MOVE_UFFD)
			code = -ENOENT;
		if (code)
			rc = move_fail(job, region_at(at, page_size()), there, code, NULL);
		if (!(from[i] & POPULATED))
			job->holes += page_size();
		else if (!code)
			job->moved += page_size();
	}
	return rc;
}

static int inspect_piece(const struct mover *mover, struct move_job *job, const struct move_piece *piece)
{
	struct region source = {piece->source, piece->source + piece->bytes};
	int rc = 0;

	if (piece->rule)
		return move_fail(job, source, piece->destination, -EINVAL, piece->rule);
	for (uint64_t done = 0, bytes; !rc && done < piece->bytes; done += bytes) {
		bytes = min_u64(MOVE_PAGES_A_LOOK * page_size(), piece->bytes - done);
		rc = inspect_pages(mover, job, region_at(source.start + done, bytes),
				   piece->destination ? piece->destination + done : 0);
	}
	return rc;
}

int mover_inspect(struct mover *mover, struct move_job *job, struct error *error)
{
	struct move_piece piece = {0};
	int rc = 0;

	for (uint64_t done = 0; !rc && done < job->bytes; done += piece.bytes) {
		rc = move_piece_at(mover, job->source + done, job->destination ? job->destination + done : 0,
				   job->bytes - done, &piece);
		if (!rc)
			rc = inspect_piece(mover, job, &piece);
	}
	if (rc)
		error_set(error, rc, rc == -ESRCH ? "the process has ended" : NULL, NULL,
			  "look at the memory of process %d", mover->target->pid);
	return rc;
}
