/* SPDX-License-Identifier: MIT */
/* The userfaultfd ioctls, each with its answer brought to one form: an errno and a count of bytes. */
#include "uffd/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/size.h"

#define NOWHERE 0x10000 /* nobody maps anything there (vm.mmap_min_addr) */

int uffd_offered(int fd_new, uint64_t *features)
{
	struct uffdio_api api = {.api = UFFD_API};

	if (ioctl(fd_new, UFFDIO_API, &api) < 0)
		return -errno;
	*features = api.features;
	return 0;
}

int uffd_handshake(int fd, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};

	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	return (api.features & features) == features ? 0 : -EOPNOTSUPP;
}

int uffd_register(int fd, struct region region, uint64_t mode, uint64_t *ioctls)
{
	struct uffdio_register reg = {
		.range = {.start = region.start, .len = region_bytes(region)},
		.mode = mode,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return -errno;
	if (ioctls)
		*ioctls = reg.ioctls;
	return 0;
}

int uffd_register_missing(int fd, struct region region)
{
	return uffd_register(fd, region, UFFDIO_REGISTER_MODE_MISSING, NULL);
}

int uffd_unregister(int fd, struct region region)
{
	struct uffdio_range range = {.start = region.start, .len = region_bytes(region)};

	return ioctl(fd, UFFDIO_UNREGISTER, &range) < 0 ? -errno : 0;
}

/* COPY, ZEROPAGE and POISON answer alike: a signed count, or a negative errno in its place. */
static int copy_outcome(int rc, int64_t answer, size_t bytes, size_t *done)
{
	*done = answer > 0 ? (size_t)answer : 0;
	if (rc < 0)
		return -errno;
	return *done == bytes ? 0 : -EAGAIN;
}

int uffd_copy(int fd, uint64_t address, const void *from, size_t bytes, bool wake, size_t *copied)
{
	struct uffdio_copy copy = {
		.dst = address,
		.src = (uintptr_t)from,
		.len = bytes,
		.mode = wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE,
	};
	int rc = ioctl(fd, UFFDIO_COPY, &copy);

	return copy_outcome(rc, copy.copy, bytes, copied);
}

int uffd_zeropage(int fd, uint64_t address, size_t bytes, size_t *done)
{
	struct uffdio_zeropage zero = {.range = {.start = address, .len = bytes}};
	int rc = ioctl(fd, UFFDIO_ZEROPAGE, &zero);

	return copy_outcome(rc, zero.zeropage, bytes, done);
}

int uffd_poison(int fd, uint64_t address, size_t bytes, size_t *done)
{
	struct uffdio_poison poison = {.range = {.start = address, .len = bytes}};
	int rc = ioctl(fd, UFFDIO_POISON, &poison);

	return copy_outcome(rc, poison.updated, bytes, done);
}

int uffd_continue(int fd, uint64_t address, size_t bytes, size_t *done)
{
	struct uffdio_continue cont = {.range = {.start = address, .len = bytes}};
	int rc = ioctl(fd, UFFDIO_CONTINUE, &cont);

	return copy_outcome(rc, cont.mapped, bytes, done);
}

int uffd_writeprotect(int fd, struct region region, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = {.start = region.start, .len = region_bytes(region)},
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp) < 0 ? -errno : 0;
}

int uffd_rwprotect(int fd, struct region region, bool protect)
{
	struct uffdio_rwprotect rwp = {
		.range = {.start = region.start, .len = region_bytes(region)},
		.mode = protect ? UFFDIO_RWPROTECT_MODE_RWP : 0,
	};

	return ioctl(fd, UFFDIO_RWPROTECT, &rwp) < 0 ? -errno : 0;
}

int uffd_set_mode(int fd, uint64_t enable, uint64_t disable)
{
	struct uffdio_set_mode mode = {.enable = enable, .disable = disable};

	return ioctl(fd, UFFDIO_SET_MODE, &mode) < 0 ? -errno : 0;
}

int uffd_move(int fd, uint64_t to, uint64_t from, size_t bytes, uint64_t mode, size_t *moved)
{
	struct uffdio_move move = {.dst = to, .src = from, .len = bytes, .mode = mode};
	int rc = ioctl(fd, UFFDIO_MOVE, &move);

	return copy_outcome(rc, move.move, bytes, moved);
}

int uffd_wake(int fd, struct region region)
{
	struct uffdio_range range = {.start = region.start, .len = region_bytes(region)};

	return ioctl(fd, UFFDIO_WAKE, &range) < 0 ? -errno : 0;
}

void uffd_wake_all(int fd)
{
	uffd_wake(fd, (struct region){NOWHERE, ADDRESSES_END});
}

/*
 * The source is an address that nothing maps here, so that nothing can be placed even if the target has registered
 * memory at the destination: the answer is EAGAIN, ENOENT where nothing is registered, or EFAULT while the address
 * space lives (fs/userfaultfd.c, userfaultfd_copy; mm/userfaultfd.c, mfill_atomic).
 */
static int probe_region(int fd, struct region region)
{
	const uint64_t nowhere = NOWHERE;
	size_t copied;

	return uffd_copy(fd, region.start, (const void *)nowhere, region_bytes(region), false, &copied);
}

bool uffd_alive(int fd)
{
	return fd >= 0 && probe_region(fd, region_at(NOWHERE, page_size())) != -ESRCH;
}

bool uffd_changing(int fd)
{
	return probe_region(fd, region_at(NOWHERE, page_size())) == -EAGAIN;
}

bool uffd_absent(int fd, struct region region)
{
	return probe_region(fd, region) == -ENOENT && !uffd_changing(fd);
}

bool uffd_covers(int fd, struct region region)
{
	int rc = probe_region(fd, region);

	return rc == -EFAULT || rc == -EEXIST;
}

bool uffd_registered(int fd, uint64_t address)
{
	return uffd_covers(fd, region_at(address, page_size()));
}

/* While the flag is clear, poll(2) says POLLERR of a userfaultfd, and nothing else (fs/userfaultfd.c,
 * userfaultfd_poll). */
static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* O_NONBLOCK belongs to the description, which the target shares; RWF_NOWAIT (Linux 6.10) is of this call alone. */
int uffd_read(int fd, struct uffd_msg *messages, size_t count)
{
	struct iovec iov = {.iov_base = messages, .iov_len = count * sizeof(*messages)};
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
		set_nonblocking(fd);
		n = read(fd, messages, iov.iov_len);
	}
	if (n < 0 && errno == EAGAIN) {
		set_nonblocking(fd);
		return 0;
	}
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return (int)((size_t)n / sizeof(*messages));
}

struct region uffd_changed(const struct uffd_msg *message)
{
	if (message->event == UFFD_EVENT_REMAP)
		return (struct region){message->arg.remap.from, message->arg.remap.from + message->arg.remap.len};
	if (message->event == UFFD_EVENT_REMOVE || message->event == UFFD_EVENT_UNMAP)
		return (struct region){message->arg.remove.start, message->arg.remove.end};
	return (struct region){0, 0};
}

void uffd_wake_changed(int fd, const struct uffd_msg *message)
{
	struct region changed = uffd_changed(message);

	if (changed.end)
		uffd_wake(fd, changed);
}

int uffd_link_is(int directory, const char *path)
{
	static const char kind[] = "anon_inode:[userfaultfd]";
	char link[sizeof(kind) + 1] = "";

	if (readlinkat(directory, path, link, sizeof(link) - 1) < 0)
		return -errno;
	return strcmp(link, kind) == 0;
}
