/* SPDX-License-Identifier: MIT */
/* One packet a message; a descriptor travels as SCM_RIGHTS. */

#include "service/keep.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"

int keep_send(int socket, const struct keep_message *message, int fd)
{
	struct iovec iov = {.iov_base = (void *)message, .iov_len = sizeof(*message)};

	return fd_send(socket, &iov, 1, fd, MSG_DONTWAIT);
}

int keep_receive(int socket, struct keep_message *message, int *fd)
{
	ssize_t n = fd_receive(socket, message, sizeof(*message), fd, 1, 0);

	if (n <= 0)
		return (int)n;
	return n == sizeof(*message) ? 1 : -EBADMSG;
}
