/* SPDX-License-Identifier: MIT */
/* Which pages are asked for, remembered until a client has been told. */

#include "swapin/touch_ring.h"

#include <errno.h>
#include <stdlib.h>

#include "index/index.h"
#include "pager/pager.h"

#define TOUCHES_MAX 1048576 /* not yet told; 24 MiB */

int touch_ring_init(struct touch_ring *ring, const struct region_vec *regions)
{
	*ring = (struct touch_ring){.regions = regions, .touches = calloc(TOUCHES_MAX, sizeof(*ring->touches))};
	return ring->touches ? 0 : -ENOMEM;
}

void touch_ring_free(struct touch_ring *ring)
{
	free(ring->touches);
	ring->touches = NULL;
}

void touch_ring_note(struct pager *pager, uint64_t address, uint32_t tid, bool write, uint64_t now_ns)
{
	struct touch_ring *ring;

	pthread_mutex_lock(&pager->lock);
	ring = pager->faults.touched;
	if (ring && (!ring->regions || region_vec_find(ring->regions, address))) {
		bool out = index_get(pager->index, 0, address) != ENTRY_NONE;

		if (ring->count < TOUCHES_MAX)
			ring->touches[(ring->first + ring->count++) % TOUCHES_MAX] = (struct touch){
				address | (write ? TOUCH_WRITE : 0) | (out ? TOUCH_OUT : 0), now_ns, tid};
		else
			ring->lost++;
	}
	pthread_mutex_unlock(&pager->lock);
}

size_t touch_ring_take(struct pager *pager, struct touch_ring *ring, struct touch *touches, size_t most, uint64_t *lost)
{
	size_t count;

	pthread_mutex_lock(&pager->lock);
	count = ring->count < most ? ring->count : most;
	for (size_t i = 0; i < count; i++)
		touches[i] = ring->touches[(ring->first + i) % TOUCHES_MAX];
	ring->first = (ring->first + count) % TOUCHES_MAX;
	ring->count -= count;
	*lost = ring->lost;
	ring->lost = 0;
	pthread_mutex_unlock(&pager->lock);
	return count;
}
