/* SPDX-License-Identifier: MIT */
/* References to clusters: with the last one a cluster and its record go. */
#include "pager/cluster.h"

#include "index/index.h"
#include "pager/pager.h"
#include "pager/tiers.h"

#define STEP 4096 /* looked at while the lock is held */

static void release_cluster(struct pager *pager, uint32_t number)
{
	struct cluster *cluster = index_cluster(pager->index, number);

	if (cluster->refs || cluster->pins)
		return;
	if (cluster->state == CLUSTER_STORED && cluster->slot.length) {
		struct record_counters *counters = &index_header(pager->index)->session.counters;
		struct store_slot slot;
		struct store *store = tier_of(pager, number, &slot);

		counters->stored_bytes -= min_u64(counters->stored_bytes, slot.size);
		counters->compressed_bytes -= min_u64(counters->compressed_bytes, slot.length);
		store_free_soon(store, &slot);
		pager->faults.behind.freed = true;
	}
	index_cluster_free(pager->index, number);
}

void cluster_unref(struct pager *pager, uint32_t number)
{
	index_cluster(pager->index, number)->refs--;
	release_cluster(pager, number);
}

void cluster_unpin(struct pager *pager, uint32_t number)
{
	index_cluster(pager->index, number)->pins--;
	release_cluster(pager, number);
}

uint64_t cluster_tag(const struct pager *pager, uint32_t number)
{
	const struct cluster *cluster = index_cluster(pager->index, number);

	return (uint64_t)number << 32 | cluster->generation;
}

void cluster_lose(struct cluster *cluster)
{
	cluster->lost = ((UINT64_C(2) << (cluster->pages - 1)) - 1) & ~cluster->holes;
	cluster->state = CLUSTER_STAGED;
}

uint32_t cluster_pin_next(struct pager *pager, uint64_t *at, bool (*wants)(void *context, const struct cluster *),
			  void *context)
{
	uint32_t found = 0;
	uint64_t clusters;

	do {
		pthread_mutex_lock(&pager->lock);
		clusters = index_header(pager->index)->clusters;
		for (unsigned int i = 0; !found && i < STEP && *at < clusters; i++, (*at)++) {
			struct cluster *cluster = index_cluster(pager->index, (uint32_t)*at);

			if (!wants(context, cluster))
				continue;
			cluster->pins++;
			found = (uint32_t)*at;
		}
		pthread_mutex_unlock(&pager->lock);
	} while (!found && *at < clusters);
	return found;
}
