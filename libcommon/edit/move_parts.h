/* SPDX-License-Identifier: MIT */
/* What the files of moving share: pieces that one pair of mappings covers, and the notes of what failed. */
#pragma once

#include "edit/move.h"
#include "edit/move_call.h"

/* The first part of what is left of a job that one pair of mappings covers, or that fails as a whole. */
struct move_piece {
	uint64_t source, destination, bytes;
	int protection;   /* PROT_* of the source */
	const char *rule; /* that forbids it, NULL for none */
};

/* destination 0: not mapped yet, so only the source is inspected. Returns 0 or -errno. */
int move_piece_at(const struct mover *mover, uint64_t source, uint64_t destination, uint64_t left,
		  struct move_piece *piece);

/* Which rule the kernel means by EINVAL where move_piece_at finds none; NULL when it cannot be told. */
const char *move_hidden_rule(const struct mover *mover, const struct move_piece *piece);

/* Notes that pages stay; joins neighbours that failed for the same reason. Returns 0 or -ENOMEM. */
int move_fail(struct move_job *job, struct region source, uint64_t destination, int code, const char *rule);

/* How many bytes of a region hold something, in core or swapped. Returns 0 or -errno. */
int move_populated(const struct mover *mover, struct region region, uint64_t *bytes);

/*
 * How far from an address on, and not beyond `end`, the pagemap entries under `mask` equal `value`; at most
 * MOVE_PAGES_A_LOOK pages. Returns 0 or -errno.
 */
int move_run_of(const struct mover *mover, uint64_t address, uint64_t end, uint64_t mask, uint64_t value,
		uint64_t *bytes);
