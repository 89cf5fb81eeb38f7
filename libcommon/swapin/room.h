/* SPDX-License-Identifier: MIT */
/* Room for children. */
#pragma once

#include "pager/pager.h"

struct filler;

/*
 * How many there may be, by this process's limit of descriptors; whether there are so many, or
 * the index has no room for a child of that space, and could have it from another child. `lock` is not held.
 */
void room_init(struct pager *pager);
bool room_is_full(struct pager *pager, const struct space *parent);

/* Gives children all that is out in them back and lets them go, a few at a time. No lock is held. */
void room_make(struct filler *filler);
