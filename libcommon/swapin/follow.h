/* SPDX-License-Identifier: MIT */
/* On which processor a thread that answers faults runs. Internal to the room. */
#pragma once

#include "pager/pager.h"

/* One a processor, as far as there are places; *count of them. */
void follow_init(struct pager *pager, unsigned int *count);

/* The thread with that number has been started. */
void follow_place(struct pager *pager, unsigned int number);

/*
 * The first thread, which is woken first, goes to where the thread of the program runs that faulted last, and the
 * calling one, which brings what nobody waits for, elsewhere.
 */
void follow_faults(struct pager *pager);
