/* SPDX-License-Identifier: MIT */
/* ESRCH of UFFDIO_MOVE, or why it cannot be had. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

/* What the child hands over; its address space ends with it, the descriptor does not. */
struct legacy {
	uint64_t from, to;
};

static void send_fd(int socket, int fd, struct legacy *legacy)
{
	struct iovec iov = {.iov_base = legacy, .iov_len = sizeof(*legacy)};

	_exit(fd_send(socket, &iov, 1, fd, 0) < 0);
}

static int receive_fd(int socket, struct legacy *legacy)
{
	int fd;

	if (fd_receive(socket, legacy, sizeof(*legacy), &fd, 1, 0) != (ssize_t)sizeof(*legacy) || fd < 0)
		return -EIO;
	return fd;
}

/* In the child: a descriptor of its own address space, with something to move. */
static void send_uffd(struct kit *kit, int socket)
{
	struct legacy legacy;

	close(kit->fd);
	kit->fd = uffd_open(kit->route);
	if (kit->fd < 0 || uffd_handshake(kit->fd, UFFD_FEATURE_MOVE))
		_exit(1);
	legacy.from = (uintptr_t)kit_source(kit, page_size());
	legacy.to = (uintptr_t)kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	send_fd(socket, kit->fd, &legacy);
}

void exercise_move_esrch(struct kit *kit)
{
	struct legacy legacy = {0};
	int ends[2], status = 0, fd, result;
	size_t done;
	pid_t child;

	kit_expect(kit, "socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) ? -errno : 0, 0);
	child = kit_fork(kit);
	if (!child)
		send_uffd(kit, ends[1]);
	close(ends[1]);
	fd = receive_fd(ends[0], &legacy);
	kit_expect(kit, "waitpid", waitpid(child, &status, 0) == child && !status ? 0 : -EIO, 0);
	kit_expect(kit, "recvmsg", fd < 0 ? fd : 0, 0);
	result = uffd_move(fd, legacy.to, legacy.from, page_size(), 0, &done);
	if (result == -ESRCH)
		kit_pass(kit, "ESRCH for a process that has ended");
	kit_expect(kit, "UFFDIO_MOVE for a process that has ended", result, -EINVAL);
	kit_expect(kit, "UFFDIO_COPY for a process that has ended",
		   uffd_copy(fd, legacy.to, kit_source(kit, page_size()), page_size(), true, &done), -ESRCH);
	kit_not_applicable(
		kit, "MOVE works inside its process only, so for one that has ended it gave EINVAL; COPY gave ESRCH");
}
