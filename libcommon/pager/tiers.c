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

struct store *tier_of(const struct pager *pager, const struct cluster *cluster, struct store_slot *slot)
{
	*slot = cluster->slot;
	slot->offset &= ~SLOT_POOL;
	return cluster->slot.offset & SLOT_POOL ? pager->tiers.pool : pager->tiers.store;
}

static uint64_t now_ds(void)
{
	return now_us() / 100000;
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

void tier_enter(struct cluster *cluster, const struct store_slot *slot, bool pool)
{
	cluster->slot = *slot;
	if (!pool || !slot->length)
		return;
	cluster->slot.offset |= SLOT_POOL;
	cluster->staged_ds = (uint32_t)now_ds() + 1;
}
