/* SPDX-License-Identifier: MIT */
/*
 * What is left to another thread. It is not woken if that can be helped, because the wake-up of a processor that sleeps
 * is paid by who does it: as long as there was something to do lately it looks by itself.
 */
#include "swapin/later.h"

#include "pager/cluster.h"
#include "pager/pager.h"

bool later_prefetch(struct pager *pager, const struct prefetch *prefetch)
{
	struct behind *behind = &pager->faults.behind;
	bool asleep = behind->asleep;

	if (behind->count < PREFETCHES_MAX)
		behind->queue[(behind->first + behind->count++) % PREFETCHES_MAX] = *prefetch;
	behind->asleep = false;
	return asleep;
}

void later_wake(struct pager *pager)
{
	pthread_cond_signal(&pager->faults.behind.asked);
}

bool later_unpin(struct pager *pager, uint32_t number)
{
	struct behind *behind = &pager->faults.behind;

	if (behind->left_count == LEFT_MAX)
		return false;
	behind->left[behind->left_count++] = number;
	return true;
}

void later_unpin_now(struct pager *pager, unsigned int most)
{
	struct behind *behind = &pager->faults.behind;

	for (unsigned int i = 0; i < most && behind->left_count; i++)
		cluster_unpin(pager, behind->left[--behind->left_count]);
}

bool later_take(struct pager *pager, struct prefetch *prefetch)
{
	struct behind *behind = &pager->faults.behind;

	if (!behind->count)
		return false;
	*prefetch = behind->queue[behind->first];
	behind->first = (behind->first + 1) % PREFETCHES_MAX;
	behind->count--;
	return true;
}
