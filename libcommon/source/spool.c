/* SPDX-License-Identifier: MIT */
/* Where sources keep what was read once; reading and writing all of some bytes. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/parts.h"

int read_all_at(int fd, void *to, size_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t n = pread(fd, to, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		to = (char *)to + n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int write_all_at(int fd, const void *from, size_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t n = pwrite(fd, from, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from = (const char *)from + n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int spool_open(struct spool *spool)
{
	spool->fd = memfd_create("uvm-cache", MFD_CLOEXEC);
	if (spool->fd < 0)
		return -errno;
	spool_restart(spool);
	return 0;
}

void spool_restart(struct spool *spool)
{
	struct stat stat;

	pthread_mutex_init(&spool->lock, NULL);
	atomic_store(&spool->have, fstat(spool->fd, &stat) == 0 ? (uint64_t)stat.st_size : 0);
}

void spool_close(struct spool *spool)
{
	if (spool->fd >= 0)
		close(spool->fd);
}
