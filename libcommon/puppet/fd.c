/* SPDX-License-Identifier: MIT */
/* Descriptors across the border, by SCM_RIGHTS one way and pidfd_getfd the other. */
#include "puppet/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "inject/written.h"
#include "proc/refusal.h"

#define KEPT_FD_FROM 500 /* select(2) ends at 1024, and few programs count this high */
#define BELOW_END    8

/* Those of a main thread that has ended are gone: pidfd_getfd(2) is asked for another thread's (since Linux 6.9). */
static int take_of_thread(const struct target *target, int number)
{
	pid_t thread = target_thread(target);
	_cleanup_close_ int pidfd = thread == target->pid ? -EBADF : pidfd_of_thread(thread);

	return pidfd < 0 ? pidfd : pidfd_take(pidfd, number);
}

int inject_fd_take(const struct inject *inject, int number)
{
	int fd = pidfd_take(inject->target->pidfd, number);

	return fd == -EBADF || fd == -ESRCH ? take_of_thread(inject->target, number) : fd;
}

int inject_fd_close(struct inject *inject, int number)
{
	return (int)inject_call1(inject, SYS_close, (uint64_t)number);
}

static int send_fd(int socket, int fd)
{
	struct iovec byte = {.iov_base = &(char){0}, .iov_len = 1};

	return fd_send(socket, &byte, 1, fd, 0);
}

/* A message header in the target's scratch memory, and what it points to. */
struct remote_message {
	struct msghdr header;
	struct iovec iov;
	char byte;
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
};

static int receive_there(struct inject *inject, int socket)
{
	uint64_t at = inject->scratch;
	struct remote_message message = {0};
	struct cmsghdr *header = (struct cmsghdr *)message.control;
	int64_t rc;
	int number;

	message.iov.iov_base = (void *)(at + offsetof(struct remote_message, byte));
	message.iov.iov_len = 1;
	message.header.msg_iov = (void *)(at + offsetof(struct remote_message, iov));
	message.header.msg_iovlen = 1;
	message.header.msg_control = (void *)(at + offsetof(struct remote_message, control));
	message.header.msg_controllen = sizeof(message.control);
	rc = inject_write(inject, at, &message, sizeof(message));
	if (rc == 0)
		rc = inject_call3(inject, SYS_recvmsg, (uint64_t)socket, at, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (rc >= 0)
		rc = inject_read(inject, at, &message, sizeof(message));
	if (rc < 0)
		return (int)rc;
	if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EMFILE; /* the target had no room for one more */
	memcpy(&number, CMSG_DATA(header), sizeof(number));
	return number;
}

int inject_fd_give(struct inject *inject, int fd)
{
	_cleanup_close_ int ours = -1;
	int pair[2] = {-1, -1};
	int number;
	int64_t rc = inject_call(inject, SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, inject->scratch, 0, 0);

	if (rc == 0)
		rc = inject_read(inject, inject->scratch, pair, sizeof(pair));
	if (rc < 0)
		return (int)rc;
	ours = inject_fd_take(inject, pair[0]);
	number = ours < 0 ? ours : send_fd(ours, fd);
	if (number == 0)
		number = receive_there(inject, pair[1]);
	inject_fd_close(inject, pair[0]);
	inject_fd_close(inject, pair[1]);
	return number;
}

/*
 * /dev/userfaultfd, opened by us, used there: USERFAULTFD_IOC_NEW binds the descriptor to the caller's address space.
 */
static int64_t new_by_device(struct inject *inject, int device)
{
	int there = inject_fd_give(inject, device);
	int64_t made;

	if (there < 0)
		return there;
	made = inject_call3(inject, SYS_ioctl, (uint64_t)there, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	inject_fd_close(inject, there);
	return made;
}

/*
 * A high number, for programs that use select(2) or count on the lowest one, but inside the table the process has:
 * making the table larger waits for an RCU grace period when there are several threads (fs/file.c, expand_fdtable), and
 * the thread would stand still meanwhile.
 */
static uint64_t high_number(struct inject *inject)
{
	uint64_t size;

	if (target_status(inject->target, "FDSize", &size) < 0 || size < 2 * BELOW_END)
		return BELOW_END;
	return min_u64(KEPT_FD_FROM, size - BELOW_END);
}

/* Moves a descriptor of the target out of the way of what the program opens next. */
static int move_up(struct inject *inject, int number)
{
	int64_t high = inject_call3(inject, SYS_fcntl, (uint64_t)number, F_DUPFD_CLOEXEC, high_number(inject));

	if (high < 0)
		return number;
	inject_fd_close(inject, number);
	return (int)high;
}

int inject_fd_keep(struct inject *inject, int fd)
{
	int number = inject_fd_give(inject, fd);

	return number < 0 ? number : move_up(inject, number);
}

bool inject_fd_is(const struct inject *inject, int number, int fd)
{
	long differs;

	if (number < 0 || fd < 0)
		return false;
	differs = syscall(SYS_kcmp, getpid(), target_thread(inject->target), KCMP_FILE, fd, number);
	return differs == 0 || (differs < 0 && errno != EBADF);
}

/* Whether there is no device for us, and no other reason why it could not be used. */
static bool is_without_device(int64_t rc)
{
	return rc == -ENOENT || rc == -ENXIO || rc == -EACCES || rc == -EPERM;
}

/* On the stopped thread; `device` is our descriptor, or -errno. Returns the number in the target. */
static int64_t new_there(struct inject *inject, int device, bool keep)
{
	int64_t by_device = device < 0 ? device : new_by_device(inject, device);
	int64_t there = by_device;

	if (there < 0 && there != -ESRCH)
		there = inject_call1(inject, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (there == -EPERM && !is_without_device(by_device))
		return by_device;
	return there >= 0 && keep ? move_up(inject, (int)there) : there;
}

static int make_and_take(struct inject *inject, int device, bool keep, int *number, struct error *error)
{
	static const char hint[] =
		"give this user /dev/userfaultfd (its file mode), or set vm.unprivileged_userfaultfd=1";
	int64_t there = new_there(inject, device, keep);
	int ours = there < 0 ? -1 : inject_fd_take(inject, (int)there);

	if (there < 0)
		return error_set(error, (int)there, NULL, is_without_device(there) ? hint : NULL,
				 "make a userfaultfd in process %d", inject->target->pid);
	if (ours < 0 || !keep)
		inject_fd_close(inject, (int)there);
	else
		*number = (int)there;
	if (ours < 0)
		return refusal_to_trace(inject->target, ours, "take the userfaultfd of", error);
	return ours;
}

int inject_userfaultfd(struct inject *inject, bool keep, int *number, struct error *error)
{
	_cleanup_close_ int device = open(inject_uffd_device, O_RDWR | O_CLOEXEC);
	int opened = device < 0 ? -errno : device;
	int rc = inject_begin(inject, error);

	*number = -1;
	if (rc < 0)
		return rc;
	rc = make_and_take(inject, opened, keep, number, error);
	inject_end(inject);
	return rc;
}
