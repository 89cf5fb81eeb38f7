/* SPDX-License-Identifier: MIT */
/* Taking over from a worker that died. */
#pragma once

#include "pager/pager.h"

/*
 * Takes over from a worker that died. First, before fault service runs: the index is opened again, spaces
 * and store are rebuilt, what was on its way out is read. Then, while it runs: those pages go back, waiting faults are
 * asked for again. Return 0 or -errno.
 */
int recover_state(struct pager *pager, int index_fd);
void recover_pages(struct pager *pager);

/* Ends what another worker died in: taking out of the target what the session put there. Whether it was in that. */
bool recover_leave(struct pager *pager);
