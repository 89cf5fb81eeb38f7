/* SPDX-License-Identifier: MIT */
/* One packet a message; a descriptor travels as SCM_RIGHTS. */

#include "service/fdstore.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/fd.h"

#define AGAIN_US 50 /* until memory is tried for again */

int fdstore_send(int socket, const struct fdstore_message *message, int fd)
{
	struct iovec iov = {.iov_base = (void *)message, .iov_len = sizeof(*message)};

	return fd_send(socket, &iov, 1, fd, MSG_DONTWAIT);
}

int fdstore_receive(int socket, struct fdstore_message *message, int *fd)
{
	ssize_t n = fd_receive(socket, message, sizeof(*message), fd, 1, 0);

	if (n <= 0)
		return (int)n;
	return n == sizeof(*message) ? 1 : -EBADMSG;
}

const struct fdstore_item *fdstore_find(const struct fdstore *fdstore, uint64_t number)
{
	for (size_t i = 0; i < fdstore->count; i++)
		if (fdstore->items[i].number == number)
			return &fdstore->items[i];
	return NULL;
}

void fdstore_add(struct fdstore *fdstore, const struct fdstore_message *message, int fd)
{
	if (message->number)
		fdstore_drop(fdstore, message->number);
	/* The child would read zeros if it was closed. Better late than that. */
	while (array_reserve(&fdstore->items, fdstore->count, &fdstore->size) < 0)
		usleep(AGAIN_US);
	fdstore->items[fdstore->count++] = (struct fdstore_item){message->number, message->parent, fd};
}

void fdstore_drop(struct fdstore *fdstore, uint64_t number)
{
	for (size_t i = 0; i < fdstore->count;) {
		if (number && fdstore->items[i].number != number) {
			i++;
			continue;
		}
		close(fdstore->items[i].fd);
		fdstore->items[i] = fdstore->items[--fdstore->count];
	}
}
