/* SPDX-License-Identifier: MIT */
/*
 * Which addresses are the beginning of a live block: looked up by every free(), without reading memory near the
 * address.
 */
#pragma once

#include <stdint.h>

#define GRANULE_SHIFT 14 /* no two blocks begin in the same 16 KiB: none is smaller */

struct heap_block;

/* The live block that begins at `address`, or NULL. Any thread, no lock, no system call. */
struct heap_block *table_find(uintptr_t address);

/* Enters a block by its start. Returns 0, or -ENOMEM when there is no memory for this part of the table. */
int table_set(struct heap_block *block);

/* Takes a block out. Returns 0, or -ENOENT when it is not there: it was freed already. */
int table_clear(struct heap_block *block);

/*
 * For a block that is about to move, nobody knows where: what table_set() may need there, or NULL without memory; and
 * table_set() with it, which cannot fail. It goes back by this.
 */
struct leaf *table_reserve(void);
void table_set_reserved(struct heap_block *block, struct leaf *reserved);
