/* SPDX-License-Identifier: MIT */
/* Records from the pool to the store. */
#pragma once

#include "pager/pager.h"

struct writeback {
	uint64_t age_ms;       /* only records that have been in the pool for so long */
	uint64_t most;         /* stop after so many bytes of records; 0: no limit */
	uint64_t pages, bytes; /* answer: what was written */
	uint64_t left,
		oldest_ms; /* answer: bytes still in the pool, and since when the oldest is; 0: nothing is left */
};

/*
 * Moves records from the pool to the store. `job` held. Returns 0, or -ENOSPC, -EIO, -ENOMEM: what was not written
 * stays in the pool.
 */
int pool_writeback(struct pager *pager, struct writeback *writeback);
