/* SPDX-License-Identifier: MIT */
/* Records from the pool to the store, when nobody has asked for them for long enough. */
#include "pager/writeback.h"

#include <errno.h>

#include "index/index.h"
#include "pager/cluster.h"
#include "pager/job.h"
#include "pager/pager.h"
#include "pager/tiers.h"
#include "service/failpoint.h"

/* One walk over the clusters. */
struct sweep {
	struct pager *pager;
	struct store_scratch *scratch;
	struct writeback *writeback;
	uint64_t at;
	uint64_t until_ds; /* what was staged then or before is written */
	uint64_t left, oldest_ds;
};

static bool in_pool(const struct cluster *cluster)
{
	return cluster->state == CLUSTER_STORED && cluster->refs && cluster->slot.length &&
	       cluster->slot.offset & SLOT_POOL;
}

static void leave_staged(struct sweep *sweep, const struct cluster *cluster)
{
	sweep->left += cluster->slot.length;
	sweep->oldest_ds = min_u64(sweep->oldest_ds, cluster->staged_ds);
}

static bool is_due(void *context, const struct cluster *cluster)
{
	struct sweep *sweep = context;
	const struct writeback *w = sweep->writeback;

	if (!in_pool(cluster))
		return false;
	if (cluster->staged_ds <= sweep->until_ds && (!w->most || w->bytes + cluster->slot.length <= w->most))
		return true;
	leave_staged(sweep, cluster);
	return false;
}

/*
 * Copies the record of a pinned cluster, then moves the cluster there, unless another thread has pinned it: that may be
 * reading the record, and what is asked for is not cold. Returns 0 or -errno.
 */
static int write_one(struct sweep *sweep, uint32_t number)
{
	struct pager *pager = sweep->pager;
	struct cluster *cluster = index_cluster(pager->index, number);
	struct store_slot old, new;
	struct store *pool = tier_of(pager, number, &old);
	int rc = store_copy(pool, pager->tiers.store, sweep->scratch, &old, &new);
	bool moved;

	pthread_mutex_lock(&pager->lock);
	moved = rc == 0 && cluster->refs && cluster->pins == 1;
	if (moved) {
		failpoint("copied");
		__atomic_store_n(&cluster->slot.offset, new.offset | (cluster->slot.offset & SLOT_DENSE),
				 __ATOMIC_RELEASE);
		failpoint("written-back");
		sweep->writeback->pages += old.size / page_size();
		sweep->writeback->bytes += old.length;
		index_header(pager->index)->session.counters.written_back_pages += old.size / page_size();
	} else if (cluster->refs) {
		leave_staged(sweep, cluster);
	}
	cluster_unpin(pager, number);
	pthread_mutex_unlock(&pager->lock);
	if (rc == 0)
		store_free(moved ? pool : pager->tiers.store, moved ? &old : &new);
	return rc;
}

int pool_writeback(struct pager *pager, struct writeback *writeback)
{
	struct sweep sweep = {.pager = pager, .writeback = writeback, .at = 1, .oldest_ds = UINT64_MAX};
	uint64_t now = tier_now_ds();
	uint64_t age = (writeback->age_ms + 99) / 100;
	uint32_t number;
	int rc = store_scratch_new(pager->tiers.store, &sweep.scratch, pager->cluster_pages * page_size());

	if (rc < 0)
		return rc;
	/* Of an age of 0 is what was staged a moment ago, too. */
	sweep.until_ds = !age ? UINT64_MAX : now > age ? now - age : 0;
	while ((number = cluster_pin_next(sweep.pager, &sweep.at, is_due, &sweep))) {
		int failed;

		job_step(pager);
		failed = write_one(&sweep, number);

		if (rc == 0)
			rc = failed;
		if (failed || atomic_load(&pager->ended) || atomic_load(&pager->serving.leaving))
			sweep.until_ds = 0; /* the rest is only counted */
	}
	store_scratch_free(sweep.scratch);
	writeback->left = sweep.left;
	writeback->oldest_ms = sweep.left && now > sweep.oldest_ds ? (now - sweep.oldest_ds) * 100 : 0;
	return rc;
}
