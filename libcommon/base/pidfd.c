/* SPDX-License-Identifier: MIT */
/* By syscall(2): that is what the tests can make fail. */
#include "base/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREAD O_EXCL /* PIDFD_THREAD of <linux/pidfd.h> */

int pidfd_of(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int pidfd_of_thread(pid_t tid)
{
	int fd = (int)syscall(SYS_pidfd_open, tid, THREAD);

	return fd < 0 ? -errno : fd;
}

int pidfd_take(int pidfd, int number)
{
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	return fd < 0 ? -errno : fd;
}

int pidfd_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

bool pidfd_ends(int pidfd, int ms)
{
	return poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, ms) == 1;
}
