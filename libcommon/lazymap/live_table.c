/* SPDX-License-Identifier: MIT */
/* Pieces, and what events do to them: pure functions from one table to the next. */
#include "lazymap/live_table.h"

#include <stddef.h>

#include "base/size.h"
#include "uffd/uffd.h"

void live_table_init(struct live_table *table, int uffd, struct region region)
{
	table->applied = 0;
	table->lost = false;
	for (unsigned int i = 0; i < LIVE_SPACES; i++)
		table->uffd[i] = -1;
	table->uffd[0] = uffd;
	table->count = 1;
	table->pieces[0] = (struct live_piece){.space = 0, .region = region, .offset = 0};
}

const struct live_piece *live_table_find(const struct live_table *table, uint32_t space, uint64_t address)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct live_piece *piece = &table->pieces[i];

		if (piece->space == space && address >= piece->region.start && address < piece->region.end)
			return piece;
	}
	return NULL;
}

/* Adds what lies in both a piece and a region, `distance` further on and in another address space perhaps. */
static void add_part(struct live_table *next, const struct live_piece *piece, struct region within, uint32_t space,
		     uint64_t distance)
{
	uint64_t start = max_u64(piece->region.start, within.start);
	uint64_t end = min_u64(piece->region.end, within.end);

	if (start >= end)
		return;
	if (next->count == LIVE_PIECES) {
		next->lost = true;
		return;
	}
	next->pieces[next->count++] = (struct live_piece){
		.space = space,
		.region = {start + distance, end + distance},
		.offset = piece->offset + (start - piece->region.start),
	};
}

/* All pieces but what one address space has in a region. */
static void copy_without(struct live_table *next, const struct live_table *table, uint32_t space, struct region region)
{
	next->applied = table->applied;
	next->lost = table->lost;
	next->count = 0;
	for (unsigned int i = 0; i < LIVE_SPACES; i++)
		next->uffd[i] = table->uffd[i];
	for (uint32_t i = 0; i < table->count; i++) {
		const struct live_piece *piece = &table->pieces[i];
		bool touched = piece->space == space;

		add_part(next, piece, (struct region){0, touched ? region.start : UINT64_MAX}, piece->space, 0);
		if (touched)
			add_part(next, piece, (struct region){region.end, UINT64_MAX}, piece->space, 0);
	}
}

/*
 * The old place goes with the unmap event that follows; with MREMAP_DONTUNMAP there is none, and it shows the object
 * anew.
 */
static void apply_remap(struct live_table *next, const struct live_table *table, uint32_t space,
			const struct uffd_msg *message)
{
	struct region from = uffd_changed(message);
	uint64_t to = message->arg.remap.to;

	copy_without(next, table, space, region_at(to, region_bytes(from)));
	for (uint32_t i = 0; i < table->count; i++)
		if (table->pieces[i].space == space)
			add_part(next, &table->pieces[i], from, space, to - from.start);
}

static int fork_space(struct live_table *next, const struct live_table *table, uint32_t space, int uffd)
{
	int child = -1;

	for (unsigned int i = 0; i < LIVE_SPACES && child < 0; i++)
		if (table->uffd[i] < 0)
			child = (int)i;
	if (child < 0)
		return -1;
	next->uffd[child] = uffd;
	for (uint32_t i = 0; i < table->count; i++)
		if (table->pieces[i].space == space)
			add_part(next, &table->pieces[i], (struct region){0, UINT64_MAX}, (uint32_t)child, 0);
	return child;
}

void live_table_apply(struct live_table *next, const struct live_table *table, uint32_t space,
		      const struct uffd_msg *message, int *child)
{
	struct region none = {0, 0};

	*child = -1;
	switch (message->event) {
	case UFFD_EVENT_REMAP:
		apply_remap(next, table, space, message);
		break;
	case UFFD_EVENT_UNMAP:
		copy_without(next, table, space, uffd_changed(message));
		break;
	case UFFD_EVENT_FORK:
		copy_without(next, table, UINT32_MAX, none);
		*child = fork_space(next, table, space, (int)message->arg.fork.ufd);
		break;
	default:
		copy_without(next, table, UINT32_MAX, none);
		break;
	}
	next->applied = table->applied + 1;
}

void live_table_drop(struct live_table *next, const struct live_table *table, uint32_t space)
{
	copy_without(next, table, space, (struct region){0, UINT64_MAX});
	next->uffd[space] = -1;
	next->applied = table->applied;
}
