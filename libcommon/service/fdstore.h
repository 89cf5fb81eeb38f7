/* SPDX-License-Identifier: MIT */
/* What worker and supervisor say to each other, over a socket pair that keeps messages apart. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum fdstore_op {
	FDSTORE_ADD,     /* worker: hold this descriptor under this number */
	FDSTORE_DROP,    /* worker: close the one under this number; 0 is all, the session's own included */
	FDSTORE_DROPPED, /* supervisor: done, all are closed */
	FDSTORE_OVER,    /* worker: the session is over */
	FDSTORE_READY,   /* worker: it serves, and the process that waits for that knows */
};

struct fdstore_message {
	uint32_t op;
	uint32_t parent; /* FDSTORE_ADD: the space that forked */
	uint64_t number;
};

/*
 * Sends a message, with a descriptor when fd >= 0. Never waits for the other side: -EAGAIN when it has not read for
 * long. Returns 0 or -errno.
 */
int fdstore_send(int socket, const struct fdstore_message *message, int fd);

/* Receives one. *fd is -1 when none came along. Returns 1, 0 when the other side has closed, or -errno (-EAGAIN). */
int fdstore_receive(int socket, struct fdstore_message *message, int *fd);

/* Descriptors of children that the supervisor holds, by the worker's numbers. */
struct fdstore {
	struct fdstore_item {
		uint64_t number;
		uint32_t parent;
		int fd;
	} * items;
	size_t count, size;
};

/* Takes a descriptor under the message's number, in place of one that is there. Waits for memory. */
void fdstore_add(struct fdstore *fdstore, const struct fdstore_message *message, int fd);

/* Closes the one under a number, or, with 0, all. */
void fdstore_drop(struct fdstore *fdstore, uint64_t number);

/* The one under a number, or NULL. */
const struct fdstore_item *fdstore_find(const struct fdstore *fdstore, uint64_t number);
