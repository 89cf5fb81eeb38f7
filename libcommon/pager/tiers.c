/* SPDX-License-Identifier: MIT */
/*
 * Two tiers: what is staged is compressed and stays in memory (the pool), and is written back to the store when nobody
 * has asked for it for long enough.
 */
#include "pager/tiers.h"

#include <errno.h>
#include <sys/mman.h>

#include "index/index.h"
#include "pager/pager.h"

int pool_new(struct pager *pager)
{
	if (pager->tiers.pool_fd < 0)
		pager->tiers.pool_fd = memfd_create("uvmtools-pool", MFD_CLOEXEC);
	return pager->tiers.pool_fd < 0 ? -errno : 0;
}

int pool_open(struct pager *pager, struct codec_choice codec)
{
	return store_open(&pager->tiers.pool, pager->tiers.pool_fd, 0, codec);
}

void tiers_seal(struct pager *pager)
{
	store_set_seal(pager->tiers.store, pager->tiers.seal);
	store_set_seal(pager->tiers.pool, pager->tiers.seal);
}

struct store *tier_of(const struct pager *pager, uint32_t number, struct store_slot *slot)
{
	bool pool;

	index_slot_get(pager->index, number, slot);
	pool = slot->offset & SLOT_POOL;
	slot->offset &= ~(SLOT_POOL | SLOT_DENSE);
	return pool ? pager->tiers.pool : pager->tiers.store;
}

uint32_t tier_now_ds(void)
{
	return (uint32_t)(now_us() / 100000);
}

void tier_expect_dense(struct pager *pager, uint32_t made_ds)
{
	uint32_t none = 0;

	atomic_compare_exchange_strong(&pager->tiers.dense.due_ds, &none, made_ds + DENSE_AGE_DS);
}

void tier_enter(struct pager *pager, uint32_t number, const struct store_slot *slot, bool pool)
{
	struct cluster *cluster = index_cluster(pager->index, number);

	index_slot_set(pager->index, number, slot);
	if (!slot->length)
		return;
	if (pool)
		cluster->slot.offset |= SLOT_POOL;
	cluster->staged_ds = tier_now_ds() + 1;
	tier_expect_dense(pager, cluster->staged_ds);
}
