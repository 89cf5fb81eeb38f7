/* SPDX-License-Identifier: MIT */
/* The clients of the control socket until they have said what they want. Internal to the room. */
#pragma once

#include <poll.h>

#include "pager/pager.h"

#define CLIENTS_WAITING 128 /* that have not said it yet, or wait for their turn */

struct waiting_client;

/* All zeros is nobody. One thread. */
struct clients {
	struct waiting_client *all[CLIENTS_WAITING];
	unsigned int count;
	unsigned int whole;     /* of them, that have said it and wait for their turn */
	uint64_t deaf_until_us; /* nobody was taken in for want of descriptors or memory: not again before */
};

/*
 * What to poll for them, CLIENTS_WAITING descriptors at most, and for how long, in milliseconds: `most`, or less.
 * Returns how many descriptors.
 */
unsigned int clients_poll(const struct clients *clients, struct pollfd *fds, int *most);

/* The descriptor of the control socket to be polled, or -1: not now. */
int clients_listen(const struct clients *clients, const struct pager *pager);

/* Takes one in. The longest silent one goes when there are too many. */
void clients_accept(struct clients *clients, struct pager *pager);

/*
 * Reads what those have sent of which `fds`, as clients_poll filled them, say that it is there; starts a thread for
 * each that is to be served now (control_serve), answers those whose time is up with an error.
 */
void clients_serve(struct clients *clients, const struct pollfd *fds, unsigned int count);

/* Those that nobody will serve any more. */
void clients_end(struct clients *clients);
