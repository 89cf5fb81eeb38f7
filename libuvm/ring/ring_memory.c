/* SPDX-License-Identifier: MIT */
/* The ring of this process: its memfd and its mapping. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "ring/ring.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif
#define HIGH_FD 768 /* out of the way of programs that close, count or select(2) on low descriptors */

static _Atomic uint64_t no_ring;

struct uvm_reclaim_ring ring_own = {.fd = -1, .alive = &no_ring};

static size_t bytes_for(uint32_t capacity, size_t page)
{
	return round_up(RING_ENTRIES + (size_t)capacity * sizeof(struct ring_entry), page);
}

uvm_reclaim_count_t uvm_reclaim_round_capacity(uvm_reclaim_count_t capacity)
{
	size_t rounded;

	if (!capacity || capacity >= RING_MAX)
		return capacity ? RING_MAX : 0;
	rounded = (bytes_for(capacity, (size_t)sysconf(_SC_PAGESIZE)) - RING_ENTRIES) / sizeof(struct ring_entry);
	return rounded < RING_MAX ? (uvm_reclaim_count_t)rounded : RING_MAX;
}

static int move_high(int fd)
{
	struct rlimit limit;
	int lowest = HIGH_FD, high;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return fd;
	if (limit.rlim_cur / 4 * 3 < HIGH_FD)
		lowest = (int)(limit.rlim_cur / 4 * 3);
	high = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static int make_memfd(size_t bytes)
{
	_cleanup_close_ int fd = memfd_create(RING_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(RING_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	return move_high(steal_fd(&fd));
}

static void fill_in(struct ring_shared *shared, size_t bytes, uint32_t max_capacity, uint32_t capacity)
{
	shared->fixed.max_capacity = max_capacity;
	shared->fixed.address = (uintptr_t)shared;
	shared->fixed.bytes = bytes;
	shared->capacity = capacity;
	shared->pid = (uint32_t)getpid();
	shared->period_ns = RING_PERIOD;
	shared->sampled_ns = clock_now_ns();
	shared->fixed.version = RING_VERSION;
}

int ring_map(struct uvm_reclaim_ring *ring, void *address, uint32_t max_capacity, uint32_t capacity)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = bytes_for(max_capacity, page);
	_cleanup_close_ int fd = make_memfd(bytes);
	struct stat status;
	void *at;

	if (fd < 0)
		return fd;
	if (fstat(fd, &status))
		return -errno;
	at = mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (address ? MAP_FIXED : 0), fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	if (madvise(at, bytes, MADV_DONTFORK)) {
		int error = errno;

		munmap(at, bytes);
		return -error;
	}
	fill_in(at, bytes, max_capacity, capacity);
	ring->view = (struct ring_view){.shared = at, .max_capacity = max_capacity};
	ring->bytes = bytes;
	ring->page = page;
	ring->device = status.st_dev;
	ring->inode = status.st_ino;
	ring->fd = steal_fd(&fd);
	return 0;
}

void ring_publish(struct uvm_reclaim_ring *ring)
{
	__atomic_store_n(&ring->view.shared->fixed.magic, RING_MAGIC, __ATOMIC_RELEASE);
}

bool ring_fd_is_ours(const struct uvm_reclaim_ring *ring)
{
	struct stat status;

	return ring->fd >= 0 && !fstat(ring->fd, &status) && status.st_dev == ring->device &&
	       status.st_ino == ring->inode;
}
