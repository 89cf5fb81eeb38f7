/* SPDX-License-Identifier: MIT */
/* The pages of one cluster back into one address space: claim, load, place, let go. */
#include "swapin/bring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "index/index.h"
#include "pager/cluster.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pager/tiers.h"
#include "service/failpoint.h"
#include "service/pulse.h"
#include "swapin/filler.h"
#include "swapin/guards.h"
#include "swapin/later.h"

enum outcome {
	VOID,  /* an event took the page from us before it was placed, or will */
	DONE,  /* it is there now */
	RETRY, /* the kernel said: not now */
	GONE,  /* not to come back, and no event says so: MADV_DONTFORK kept it from a child, or a guard lies over it */
};

int filler_init(struct filler *filler, struct pager *pager)
{
	size_t bytes = pager->cluster_pages * page_size();

	*filler = (struct filler){.pager = pager, .epoll = -1, .pulse = &pager->supervision.pulse->threads[PULSE_JOB]};
	if (store_scratch_new(pager->tiers.store, &filler->scratch, bytes) < 0)
		return -ENOMEM;
	filler->pages = aligned_alloc(page_size(), bytes);
	if (!filler->pages) {
		filler_free(filler);
		return -ENOMEM;
	}
	if (pager->memory_limited)
		filler_reserve(filler);
	return 0;
}

void filler_reserve(struct filler *filler)
{
	size_t pages = filler->pager->memory_limited ? filler->pager->cluster_pages : 1;

	memset(filler->pages, 0, pages * page_size());
}

void filler_free(struct filler *filler)
{
	store_scratch_free(filler->scratch);
	free(filler->pages);
	*filler = (struct filler){0};
}

/* Pages of a cluster that are out where they lay. `lock` held. */
static uint64_t find_beside(struct pager *pager, const struct claim *claim, const struct cluster *cluster)
{
	uint64_t found = 0;

	for (unsigned int i = 0; i < cluster->pages; i++)
		if (i != claim->wanted && !mask_has_bit(cluster->holes | cluster->lost, i) &&
		    index_get(pager->index, claim->space->id, claim->base + i * page_size()) ==
			    entry_make(claim->number, i))
			found |= UINT64_C(1) << i;
	return found;
}

/* `lock` held. */
static void claim_pages(struct pager *pager, struct claim *claim, uint64_t address, index_entry entry,
			enum claim_extent extent)
{
	struct cluster *cluster = index_cluster(pager->index, entry_cluster(entry));

	claim->number = entry_cluster(entry);
	claim->wanted = entry_sub(entry);
	claim->base = address - claim->wanted * page_size();
	claim->slot = -1;
	claim->pages = UINT64_C(1) << claim->wanted;
	claim->others = find_beside(pager, claim, cluster);
	if (extent == CLAIM_CLUSTER) {
		claim->pages |= claim->others;
		claim->others = 0;
	}
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (mask_has_bit(claim->pages, i))
			index_set(pager->index, claim->space->id, claim->base + i * page_size(),
				  entry_make(claim->number, i) | ENTRY_FILLING);
	cluster->pins++;
	if (cluster->state == CLUSTER_STAGED) {
		claim->slot = (int)((cluster->staging - pager->staging.region.start) / SLOT_BYTES);
		pager->staging.pins[claim->slot]++;
		claim->data = pager->staging.mirror + (cluster->staging - pager->staging.region.start) +
			      claim_first(claim) * page_size();
	}
}

/* Pages that a record holds, in order. */
static uint64_t record_pages(const struct cluster *cluster)
{
	uint64_t all = (UINT64_C(2) << (cluster->pages - 1)) - 1;

	return all & ~(cluster->holes | cluster->zeros | cluster->filled);
}

/* Which unit of the record a page of it is. */
static unsigned int unit_of(const struct cluster *cluster, unsigned int page)
{
	return (unsigned int)__builtin_popcountll(record_pages(cluster) & ((UINT64_C(1) << page) - 1));
}

static void fill_page(const struct pager *pager, const struct claim *claim, unsigned int i, unsigned char *to)
{
	const struct cluster *cluster = index_cluster(pager->index, claim->number);
	uint64_t word = 0;

	if (mask_has_bit(cluster->filled, i))
		word = *index_fill(pager->index, claim->number, i, false);
	for (size_t at = 0; at < page_size(); at += sizeof(word))
		memcpy(to + at, &word, sizeof(word));
}

/*
 * Spreads units, the first of which lies in front, over the pages that they belong to, the last one first: none lies
 * behind its place. Pages that are in no record are made.
 */
static void spread_pages(struct filler *filler, const struct claim *claim, uint64_t loaded)
{
	const struct cluster *cluster = index_cluster(filler->pager->index, claim->number);
	unsigned int first_unit = loaded ? unit_of(cluster, (unsigned int)__builtin_ctzll(loaded)) : 0;
	size_t page = page_size();

	for (unsigned int i = cluster->pages; i-- > claim_first(claim);) {
		unsigned char *to = filler->pages + (i - claim_first(claim)) * page;

		if (mask_has_bit(loaded, i)) {
			const unsigned char *from = filler->pages + (unit_of(cluster, i) - first_unit) * page;

			if (from != to)
				memmove(to, from, page);
		} else if (mask_has_bit(claim->pages & ~record_pages(cluster), i)) {
			fill_page(filler->pager, claim, i, to);
		}
	}
}

/*
 * The store gave back something else than was written, or nothing: a thread that touches these pages gets SIGBUS, never
 * wrong bytes.
 */
static void mark_units_lost(struct pager *pager, uint32_t number, uint64_t units)
{
	struct cluster *cluster = index_cluster(pager->index, number);

	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (mask_has_bit(record_pages(cluster), i) && mask_has_bit(units, unit_of(cluster, i)))
			cluster->lost |= UINT64_C(1) << i;
	pthread_mutex_unlock(&pager->lock);
}

/*
 * The contents of what is claimed, page by page; nothing can change or free it: it is pinned. What the store does not
 * give back is lost.
 */
static void load_pages(struct filler *filler, struct claim *claim)
{
	struct pager *pager = filler->pager;
	const struct cluster *cluster = index_cluster(pager->index, claim->number);
	uint64_t loaded = claim->pages & record_pages(cluster) & ~cluster->lost;
	uint64_t units = 0, bad = 0;
	struct store_slot slot;
	const struct store *store;

	if (claim->data)
		return;
	claim->data = filler->pages;
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (mask_has_bit(loaded, i))
			units |= UINT64_C(1) << unit_of(cluster, i);
	store = tier_of(pager, claim->number, &slot);
	if (units)
		store_read_units(store, filler->scratch, &slot, cluster_tag(pager, claim->number), units, filler->pages,
				 &bad);
	if (bad)
		mark_units_lost(pager, claim->number, bad);
	spread_pages(filler, claim, loaded);
}

/* `events` is held shared: what is gone has been read, or shows as a change that has not been. */
static enum outcome outcome_of(const struct space *space, int rc)
{
	switch (rc) {
	case 0:
	case -EEXIST:
		return DONE;
	case -ENOENT:
		return uffd_changing(space->uffd) ? RETRY : GONE;
	case -EINVAL:
	case -ESRCH:
		return VOID;
	default:
		return RETRY;
	}
}

/* How a page is placed. */
enum kind {
	DATA,
	ZERO,
	POISON
};

static enum kind kind_of(const struct cluster *cluster, unsigned int i)
{
	bool all_zero = !(((UINT64_C(2) << (cluster->pages - 1)) - 1) & ~(cluster->holes | cluster->zeros));

	if (mask_has_bit(cluster->lost, i))
		return POISON;
	/*
	 * A zero page among others travels with them in one call; alone, the shared zero page costs the target no
	 * memory.
	 */
	return mask_has_bit(cluster->holes, i) || all_zero ? ZERO : DATA;
}

static int place_once(const struct claim *claim, enum kind kind, unsigned int first, size_t bytes, size_t *done)
{
	uint64_t at = claim->base + first * page_size();

	switch (kind) {
	case POISON:
		return uffd_poison(claim->space->uffd, at, bytes, done);
	case ZERO:
		return uffd_zeropage(claim->space->uffd, at, bytes, done);
	default:
		return uffd_copy(claim->space->uffd, at, claim->data + (first - claim_first(claim)) * page_size(),
				 bytes, true, done);
	}
}

/*
 * Places pages [first, end) of the claim, all of one kind. `events` is held shared. A call fails as a whole when its
 * range does not lie in one mapping (the target may have split it by mprotect, of which no event tells): page by page
 * then.
 */
static void place_run(struct claim *claim, enum kind kind, unsigned int first, unsigned int end)
{
	unsigned int most = end - first;

	while (first < end) {
		unsigned int count = end - first < most ? end - first : most;
		size_t done = 0;
		int rc = place_once(claim, kind, first, count * page_size(), &done);
		bool some = done > 0;
		enum outcome outcome;

		for (; done; done -= page_size())
			claim->outcome[first++] = DONE;
		if (some)
			continue; /* a partial answer: what made it stop is said when asked again */
		if (rc == -ENOENT && count > 1) {
			most = 1;
			continue;
		}
		outcome = outcome_of(claim->space, rc);
		if (outcome == RETRY) {
			for (; first < end; first++)
				claim->outcome[first] = RETRY;
			return;
		}
		/* It is there already. That wakes nobody by itself (userfaultfd_copy wakes only what it copied). */
		if (outcome == DONE)
			uffd_wake(claim->space->uffd, (struct region){claim->base + first * page_size(),
								      claim->base + (first + 1) * page_size()});
		claim->outcome[first++] = (uint8_t)outcome;
	}
}

/* What lies under a guard is given up. Returns what is left of a mask: nothing while the pages may lie elsewhere. */
static uint64_t give_up_guarded(const struct pager *pager, struct claim *claim, uint64_t mask)
{
	uint64_t asked = claim->asked_now ? UINT64_C(1) << claim->wanted : 0;
	uint64_t guarded = guards_over(pager, claim, mask & ~asked);

	if (guarded && uffd_changing(claim->space->uffd))
		return 0;
	for (unsigned int i = 0; i < CLUSTER_PAGES_MAX; i++)
		if (mask_has_bit(guarded, i))
			claim->outcome[i] = GONE;
	return mask & ~guarded;
}

/* Places the pages of a claim, as far as they are still ours to place. */
static void place_pages(struct pager *pager, struct claim *claim)
{
	const struct cluster *cluster = index_cluster(pager->index, claim->number);
	uint64_t valid = 0;

	space_lock_shared(claim->space);
	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (mask_has_bit(claim->pages, i) && !claim->space->dead &&
		    index_get(pager->index, claim->space->id, claim->base + i * page_size()) ==
			    (entry_make(claim->number, i) | ENTRY_FILLING))
			valid |= UINT64_C(1) << i;
	pthread_mutex_unlock(&pager->lock);
	valid = give_up_guarded(pager, claim, valid);
	for (unsigned int i = 0; i < cluster->pages;) {
		unsigned int end = i + 1;

		if (!mask_has_bit(valid, i)) {
			i++;
			continue;
		}
		while (end < cluster->pages && mask_has_bit(valid, end) && kind_of(cluster, end) == kind_of(cluster, i))
			end++;
		place_run(claim, kind_of(cluster, i), i, end);
		i = end;
	}
	pthread_rwlock_unlock(&claim->space->events);
}

/* What was placed has no entry any more; what was not keeps it, unmarked. Returns how many pages were placed. */
static unsigned int let_go(const struct filler *filler, struct claim *claim)
{
	struct pager *pager = filler->pager;
	struct cluster *cluster = index_cluster(pager->index, claim->number);
	unsigned int placed = 0;

	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 0; i < cluster->pages; i++) {
		uint64_t at = claim->base + i * page_size();

		if (!mask_has_bit(claim->pages, i) ||
		    index_get(pager->index, claim->space->id, at) != (entry_make(claim->number, i) | ENTRY_FILLING))
			continue;
		if (claim->outcome[i] == DONE || claim->outcome[i] == GONE) {
			index_set(pager->index, claim->space->id, at, ENTRY_NONE);
			cluster->refs--;
			placed += claim->outcome[i] == DONE;
			index_header(pager->index)->session.counters.poisoned_pages +=
				claim->outcome[i] == DONE && mask_has_bit(cluster->lost, i);
		} else {
			index_set(pager->index, claim->space->id, at, entry_make(claim->number, i));
		}
	}
	if (claim->slot >= 0)
		pager->staging.pins[claim->slot]--;
	claim->space->check_soon = true;
	if (cluster->refs || cluster->pins > 1 || !filler->hurries || !later_unpin(pager, claim->number))
		cluster_unpin(pager, claim->number);
	pthread_mutex_unlock(&pager->lock);
	return placed;
}

int bring(struct filler *filler, struct claim *claim)
{
	struct pager *pager = filler->pager;
	unsigned int placed;
	bool force;

	failpoint("filling");
	force = confine_force(false);
	load_pages(filler, claim);
	failpoint("loaded");
	confine_force(force);
	place_pages(pager, claim);
	failpoint("placed");
	placed = let_go(filler, claim);
	failpoint("filled");
	return claim->outcome[claim->wanted] == DONE ? (int)placed : -EAGAIN;
}

int claim_at(struct pager *pager, struct space *space, uint64_t address, enum claim_extent extent, struct claim *claim)
{
	index_entry entry = index_get(pager->index, space->id, address);

	if (entry == ENTRY_NONE || entry & ENTRY_FILLING)
		return 0;
	if (index_cluster(pager->index, entry_cluster(entry))->state == CLUSTER_MOVING)
		return -EAGAIN;
	*claim = (struct claim){.space = space};
	claim_pages(pager, claim, address, entry, extent);
	return 1;
}
