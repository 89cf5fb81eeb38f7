/* SPDX-License-Identifier: MIT */
/* Messages of the address spaces, read and applied. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* In a new worker. Returns 0 or -errno. */
int live_event_init(struct live *live);

/* What another worker died in. */
void live_event_recover(struct live *live);

/* The next request that is due, after reading what there is to read. */
struct live_request *live_event_next(struct live *live);

/* Closes the descriptor of an address space, if there is one. */
void live_event_let_go(struct live *live, uint32_t space);

/* Lets go of address spaces that are gone. Returns how many there still are. */
unsigned int live_event_check(struct live *live);
