/* SPDX-License-Identifier: MIT */
/*
 * Which pages of which address space show which bytes of the object. Lives in memory that several processes share, and
 * survives each of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/region.h"
#include "uffd/uapi.h"

#define LIVE_SPACES 512
#define LIVE_PIECES 8192

/* Pages of one address space that show consecutive bytes of the object. */
struct live_piece {
	uint32_t space;
	struct region region;
	uint64_t offset;
};

/*
 * What is true once all events up to number `applied` have been read. There are two: the next one is written while the
 * current one is in force, so that a death in the middle of an event leaves the old one, and the event is applied once
 * more.
 */
struct live_table {
	uint64_t applied;
	int uffd[LIVE_SPACES]; /* -1: no address space */
	uint32_t count;
	bool lost; /* there was no room: pages that it does not know are poisoned when they are touched */
	struct live_piece pieces[LIVE_PIECES];
};

/* One space with its descriptor, in which all of the region shows the object from its beginning. */
void live_table_init(struct live_table *table, int uffd, struct region region);

/* The piece that holds an address, or NULL. */
const struct live_piece *live_table_find(const struct live_table *table, uint32_t space, uint64_t address);

/*
 * Writes to `next` what is true after an event (fork, remap, unmap; others change nothing) of an address space. For a
 * fork, *child receives the number of the new address space, which shows what its parent does, or -1 when there is no
 * place for it.
 */
void live_table_apply(struct live_table *next, const struct live_table *table, uint32_t space,
		      const struct uffd_msg *message, int *child);

/* Writes to `next` what is left without an address space. */
void live_table_drop(struct live_table *next, const struct live_table *table, uint32_t space);
