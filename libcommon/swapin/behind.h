/* SPDX-License-Identifier: MIT */
/* What is left to do when a fault has been answered, by a thread that nobody waits for. */
#pragma once

#include "pager/pager.h"

/* Returns 0 or -errno. */
int behind_start(struct pager *pager);
void behind_stop(struct pager *pager);

/* Gives back what is to be, for who counts what is there. No lock is held. */
void behind_finish(struct pager *pager);

/* There may be something to give back. */
void behind_wake(struct pager *pager);
