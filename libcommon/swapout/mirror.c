/* SPDX-License-Identifier: MIT */
/* The worker's copy of the staging area has memory only while pages leave. */

#include "swapout/mirror.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup/cgroup.h"
#include "pager/pager.h"

#define IN_USE_US 1000

int mirror_make(struct pager *pager)
{
	uint64_t left = UINT64_MAX;

	pager->staging.mirror = mmap(NULL, STAGING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pager->staging.mirror == MAP_FAILED)
		return -ENOMEM;
	pager->memory_limited = cgroup_left_here(&left) == 0 && left != UINT64_MAX;
	return 0;
}

int mirror_check_memory(const struct pager *pager, uint64_t bytes, struct error *error)
{
	uint64_t left;

	if (!pager->memory_limited || cgroup_left_here(&left) < 0 || left >= bytes)
		return 0;
	return error_set(error, -ENOMEM, "the cgroup of the session is near its limit of memory",
			 "raise it, or start the session from another cgroup", "swap out process %d",
			 pager->target.pid);
}

int mirror_reserve(struct pager *pager, struct error *error)
{
	int rc = mirror_check_memory(pager, STAGING_BYTES + MEMORY_SPARE, error);

	if (rc == 0 && pager->memory_limited &&
	    madvise(pager->staging.mirror, STAGING_BYTES, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
		rc = error_set(error, -ENOMEM, NULL, NULL, "have memory to swap out process %d", pager->target.pid);
	return rc;
}

static bool is_read(struct pager *pager)
{
	bool read = false;

	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 0; i < SLOTS; i++)
		read |= pager->staging.pins[i] > 0;
	pthread_mutex_unlock(&pager->lock);
	return read;
}

void mirror_give_back(struct pager *pager)
{
	while (is_read(pager)) /* their pins are let go without a signal */
		usleep(IN_USE_US);
	madvise(pager->staging.mirror, STAGING_BYTES, MADV_DONTNEED_LOCKED);
}
