/* SPDX-License-Identifier: MIT */
/* The blocks that a thread waits for. Internal to the room. */
#pragma once

#include "lazymap/live_state.h"

/* None yet. */
void live_request_init(struct live *live);

/* A thread waits at an address; `events` is held for writing. */
void live_request_note(struct live *live, uint32_t space, uint64_t address);

/*
 * The one that is due and came first, marked as being filled; NULL when there is none, or no thread to
 * spare. *next_ns: when the next one will be due, UINT64_MAX for never.
 */
struct live_request *live_request_take(struct live *live, uint64_t *next_ns);

/*
 * More about it later; or it is done, and freed, unless a thread came to wait for it meanwhile (then
 * false).
 */
void live_request_again(struct live *live, struct live_request *request, unsigned int after_ms);
bool live_request_done(struct live *live, struct live_request *request, size_t served);
