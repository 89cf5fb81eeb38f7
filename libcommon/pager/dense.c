/* SPDX-License-Identifier: MIT */
/* Records of what stays out, made anew by a slower codec while nothing else wants the processor. */
#include "pager/dense.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "confine/confine.h"
#include "index/index.h"
#include "pager/cluster.h"
#include "pager/tiers.h"
#include "service/failpoint.h"
#include "service/service.h"

#define LEAST_PART 16 /* a record that does not lose such a part of it stays as it is */

struct densing {
	struct pager *pager;
	struct store_scratch *scratch;
	void *data;
	uint64_t at;
	uint32_t until_ds;
	struct store_slot made; /* the last one, and what is about it */
	struct store *store;
	uint64_t tag;
};

/*
 * Only compressing is done when nobody else wants the processor, and without capabilities: a thread that waits for a
 * processor while it holds a lock would be in the way of those who answer faults. Coming back from there takes
 * CAP_SYS_NICE. Returns whether it could be done.
 */
static bool give_way(bool way)
{
	confine_force(!way);
	return sched_setscheduler(0, way ? SCHED_IDLE : SCHED_OTHER, &(struct sched_param){0}) == 0;
}

static bool is_loose(const struct cluster *cluster)
{
	return cluster->state == CLUSTER_STORED && cluster->refs && cluster->slot.length &&
	       !(cluster->slot.offset & SLOT_DENSE);
}

/* What is not old enough is looked at again when it is. */
static bool is_due(void *context, const struct cluster *cluster)
{
	struct densing *d = context;

	if (!is_loose(cluster))
		return false;
	if (cluster->staged_ds > d->until_ds)
		tier_expect_dense(d->pager, cluster->staged_ds);
	return cluster->staged_ds <= d->until_ds;
}

/* `lock` held. */
static void exchange_record(struct pager *pager, uint32_t number, const struct store_slot *old,
			    const struct store_slot *new)
{
	struct record_counters *counters = &index_header(pager->index)->session.counters;
	struct store_slot marked = *new;

	marked.offset |= SLOT_DENSE | (index_cluster(pager->index, number)->slot.offset & SLOT_POOL);
	failpoint("repacked");
	index_slot_exchange(pager->index, number, &marked);
	failpoint("exchanged");
	counters->compressed_bytes -= min_u64(counters->compressed_bytes, old->length);
	counters->compressed_bytes += new->length;
}

/*
 * The record of a pinned cluster. It stays when another thread has pinned the cluster too: that may be reading it, and
 * what is asked for is not cold. Returns whether to go on.
 */
static bool make_dense(struct densing *d, uint32_t number)
{
	struct pager *pager = d->pager;
	struct cluster *cluster = index_cluster(pager->index, number);
	struct store_slot old, new;
	struct store *store = tier_of(pager, number, &old);
	bool go_on, less, ours;
	int rc;

	go_on = give_way(true);
	rc = store_repack(store, d->scratch, &old, cluster_tag(pager, number), d->data, &new);
	go_on &= give_way(false);
	less = rc == 0 && new.length + old.length / LEAST_PART <= old.length;
	if (less)
		rc = store_place(store, d->scratch, &new);
	failpoint("repack-placed");
	pthread_mutex_lock(&pager->lock);
	ours = cluster->refs && cluster->pins == 1;
	if (ours && less && rc == 0) {
		exchange_record(pager, number, &old, &new);
		d->made = new;
		d->store = store;
		d->tag = cluster_tag(pager, number);
	} else if (ours && rc != -ENOSPC) {
		__atomic_store_n(&cluster->slot.offset, cluster->slot.offset | SLOT_DENSE, __ATOMIC_RELEASE);
	}
	cluster_unpin(pager, number);
	pthread_mutex_unlock(&pager->lock);
	if (less && rc == 0)
		store_free(store, ours ? &old : &new);
	return go_on;
}

/* Memory that only making them took is given back; what reading them takes must be there when a page is asked for. */
static void shrink_back(struct densing *d)
{
	service_shrink();
	if (d->made.length)
		store_read(d->store, d->scratch, &d->made, d->tag, d->data);
}

static void *dense_main(void *argument)
{
	struct pager *pager = argument;
	struct dense *dense = &pager->tiers.dense;
	size_t bytes = pager->cluster_pages * page_size();
	struct densing d = {.pager = pager, .at = 1, .until_ds = tier_now_ds() - DENSE_AGE_DS, .data = malloc(bytes)};
	uint32_t number;

	if (!give_way(true) || !give_way(false))
		dense->refused = true;
	else if (d.data && store_scratch_dense(&d.scratch, bytes) == 0)
		while (!atomic_load(&pager->ended) && (number = cluster_pin_next(pager, &d.at, is_due, &d)))
			if (!make_dense(&d, number)) {
				dense->refused = true;
				break;
			}
	shrink_back(&d);
	store_scratch_free(d.scratch);
	free(d.data);
	service_shrink_stack();
	dense->over = true;
	return NULL;
}

static void join_thread(struct dense *dense)
{
	if (dense->started)
		pthread_join(dense->thread, NULL);
	dense->started = false;
	dense->over = false;
}

void dense_check(struct pager *pager)
{
	struct dense *dense = &pager->tiers.dense;
	uint32_t due_ds = dense->due_ds;

	if (dense->over)
		join_thread(dense);
	if (dense->started || dense->refused || !due_ds || tier_now_ds() < due_ds ||
	    index_header(pager->index)->session.store.codec.codec != CODEC_AUTO)
		return;
	dense->due_ds = 0;
	dense->started = pthread_create(&dense->thread, NULL, dense_main, pager) == 0;
}

void dense_stop(struct pager *pager)
{
	join_thread(&pager->tiers.dense);
}
