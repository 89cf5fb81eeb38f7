/* SPDX-License-Identifier: MIT */
/* The ring of another process: found by its memfd, checked, mapped here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proc/target.h"
#include "ring/protocol.h"

struct ring_found {
	struct ring_view view;
	int fd;           /* an open file description of our own; -1: none */
	size_t bytes;     /* of the memfd, all of which is mapped here */
	uint64_t address; /* where the target has it mapped */
	uint64_t inode;
	bool open; /* the target has a descriptor of it: without one it cannot resize or flush it */
};

#define RING_FOUND_NONE ((struct ring_found){.fd = -1})

/*
 * Finds the ring of a target by the memfd in its descriptors, or by the mapping where it has closed that, and maps it;
 * `writable` for a reclaimer. A descriptor that was only inherited, without the mapping, is none. The caller
 * releases it. Returns 0, or with `error` filled: -ENOMSG there is no ring, -EBADMSG there is one that makes no sense
 * (not sealed against shrinking, sizes or indices that cannot be), -EACCES or -EPERM, -ESRCH, -ENOMEM.
 */
int ring_find(const struct target *target, bool writable, struct ring_found *ring, struct error *error);
void ring_release(struct ring_found *ring);

/*
 * Whether the address space behind `maps_fd` (an open /proc/PID/maps) has this ring mapped, shared, where its program
 * says. Returns 0, -ENOENT when it does not, -ESRCH when that address space is gone.
 */
int ring_is_mapped(const struct ring_found *ring, int maps_fd);

/*
 * Calls `each` for every process whose ring this user may see, in no order, mapped to be read; with `ring` NULL and the
 * reason for a ring that makes no sense. Target and ring last until it returns; anything but 0 from it ends the walk
 * and is returned. Returns 0 or -errno.
 */
typedef int (*ring_each_fn)(void *context, const struct target *target, struct ring_found *ring,
			    const struct error *error);
int ring_find_all(ring_each_fn each, void *context);

#define _cleanup_ring_ __attribute__((cleanup(ring_release)))
