/* SPDX-License-Identifier: MIT */
/* Threads that read messages and answer faults. */
#pragma once

#include "pager/pager.h"

struct filler;

/* Starts and ends all of them. fault_start returns 0 or -errno. */
int fault_start(struct pager *pager);
void fault_stop(struct pager *pager);

/*
 * Answers what is parked, as far as it can be. Called by fault threads and, when a batch has been read, by the mover.
 */
void fault_serve_parked(struct filler *filler);
