/* SPDX-License-Identifier: MIT */
/* Requests, each served to its end. */
#pragma once

#include "pager/pager.h"
#include "protocol/request.h"

/* One request, served to its end (takes the descriptor). */
void control_serve(struct pager *pager, int connection, const struct session_request *request);

/* Answers a client with an error, unless it would have to wait for it. */
void control_refuse(int connection, const struct error *error);

/* Whether who is connected may ask: root and the session's owner. */
bool control_may_ask(int connection);

/*
 * Brings everything back, and takes out of the target what the session put there. `job` is taken. Returns 0 or -errno
 * with `error` filled (pages that are out stay served).
 */
int control_detach(struct pager *pager, uint64_t *brought, struct error *error);
