/* SPDX-License-Identifier: MIT */
/* What worker and supervisor say to each other, over a socket pair that keeps messages apart. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum keep_op {
	KEEP_DESCRIPTOR, /* worker: hold this descriptor under this number */
	KEEP_DROP,       /* worker: close the one under this number; 0 is all, the session's own included */
	KEEP_DROPPED,    /* supervisor: done, all are closed */
	KEEP_OVER,       /* worker: the session is over */
	KEEP_READY,      /* worker: it serves, and whoever waits for that has been told */
};

struct keep_message {
	uint32_t op;
	uint32_t parent; /* KEEP_DESCRIPTOR: the space that forked */
	uint64_t number;
};

/*
 * Sends a message, with a descriptor when fd >= 0. Never waits for the other side: -EAGAIN when it has not read for
 * long. Returns 0 or -errno.
 */
int keep_send(int socket, const struct keep_message *message, int fd);

/* Receives one. *fd is -1 when none came along. Returns 1, 0 when the other side has closed, or -errno (-EAGAIN). */
int keep_receive(int socket, struct keep_message *message, int *fd);

/* Descriptors of children that the supervisor holds, by the worker's numbers. */
struct kept {
	struct kept_item {
		uint64_t number;
		uint32_t parent;
		int fd;
	} * items;
	size_t count, size;
};
