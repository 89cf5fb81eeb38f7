/* SPDX-License-Identifier: MIT */
/* Where sources keep what was read once. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "source/parts.h"

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
	cleanup_close(&spool->fd);
}
