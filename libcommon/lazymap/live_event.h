/* SPDX-License-Identifier: MIT */
/* Messages of the address spaces, read and applied. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* live_event.c: what another worker died in. */
void live_event_recover(struct live *live);

/* live_event.c: closes the descriptor of an address space, if there is one. */
void live_event_let_go(struct live *live, uint32_t space);

/* live_event.c: lets go of address spaces that are gone. Returns how many there still are. */
unsigned int live_event_check(struct live *live);
