/* SPDX-License-Identifier: MIT */
/* One packet a message; a descriptor travels as SCM_RIGHTS. */

#include "service/fdstore.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"

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
