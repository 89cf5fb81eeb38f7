/* SPDX-License-Identifier: MIT */
/*
 * Pages back into an address space: because they were touched, because they will be, or because a client wants them
 * all.
 */
#include "swapin/fill.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "index/index.h"
#include "pager/cluster.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "service/failpoint.h"
#include "service/pulse.h"
#include "swapin/bring.h"
#include "swapin/filler.h"
#include "swapin/later.h"
#include "swapin/refaults.h"

#define WALK_STEPS  2       /* faults in order before clusters are brought as a whole */
#define AHEAD_STEPS 4       /* then one is brought ahead, and twice as many with each of so many more */
#define COLLECT     1024    /* clusters looked up at a time by fill_region */
#define ROUNDS      2000    /* of fill_region without any progress, a back-off apart */
#define HELD_UP_NS  5000000 /* of a page that needs nothing from us, by an event that does not come */

static struct zero_claim *find_zeroing(struct pager *pager, unsigned int space, uint64_t address)
{
	for (size_t i = 0; i < ARRAY_SIZE(pager->faults.zeroing); i++)
		if (pager->faults.zeroing[i].address == address && pager->faults.zeroing[i].space == space)
			return &pager->faults.zeroing[i];
	return NULL;
}

/*
 * mremap(2) of locked memory fills what it has grown by before it says that it has moved it (mm/mremap.c, do_mremap):
 * that fault would wait for the event, and the event for the fault. Such a page was never out: the kernel may give it
 * the zeros. So it may with any other page that was never out, if events are late for another reason.
 */
static bool leave_to_kernel(struct pager *pager, struct space *space, struct region page)
{
	uint64_t now = clock_now_ns();
	uint64_t since = 0;
	bool noted;

	if (atomic_compare_exchange_strong(&space->held_up_since_ns, &since, now) || now - since < HELD_UP_NS)
		return false;
	pthread_mutex_lock(&pager->lock);
	noted = region_vec_insert(&space->left_to_kernel, page) == 0;
	if (noted) {
		const struct region_vec *left = &space->left_to_kernel;

		index_header(pager->index)->spaces[space->id].left_to_kernel =
			(struct region){left->items[0].start, left->items[left->count - 1].end};
		region_vec_remove(&space->registered, page);
	}
	pthread_mutex_unlock(&pager->lock);
	failpoint("leaving-to-kernel");
	if (noted)
		uffd_unregister(space->uffd, page);
	failpoint("left-to-kernel");
	return noted;
}

static int place_zero(struct pager *pager, struct space *space, uint64_t address)
{
	struct region page = {address, address + page_size()};
	size_t done;
	int rc = -EAGAIN; /* something was moved there meanwhile */

	pthread_rwlock_rdlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	if (space->dead)
		rc = -ESRCH;
	else if (index_get(pager->index, space->id, address) == ENTRY_NONE)
		rc = 0;
	pthread_mutex_unlock(&pager->lock);
	if (rc == 0) {
		/* The shared zero page, for writers too: a copy would take the place of a guard. */
		rc = uffd_zeropage(space->uffd, address, page_size(), &done);
		if (rc == -ENOMEM || (rc == -EAGAIN && !leave_to_kernel(pager, space, page))) {
			rc = -EAGAIN;
		} else if (rc < 0 && rc != -ESRCH) {
			uffd_wake(space->uffd, page);
			rc = 0;
		}
	}
	pthread_rwlock_unlock(&space->events);
	return rc;
}

/* A page that was never out, or that the target discarded. `lock` is held, and released here. */
static int fill_fresh(struct pager *pager, struct space *space, uint64_t address)
{
	struct zero_claim *claim = find_zeroing(pager, 0, 0);
	int rc;

	/*
	 * The thread that fills it may have woken the faulting one before this fault was read: it is looked up again.
	 */
	if (find_zeroing(pager, space->id, address) || !claim) {
		pthread_mutex_unlock(&pager->lock);
		return -EAGAIN;
	}
	*claim = (struct zero_claim){space->id, address};
	index_header(pager->index)->session.counters.fresh_faults++;
	pthread_mutex_unlock(&pager->lock);
	failpoint("zeroing");
	rc = place_zero(pager, space, address);
	pthread_mutex_lock(&pager->lock);
	*claim = (struct zero_claim){0, 0};
	pthread_mutex_unlock(&pager->lock);
	return rc;
}

/* Claims what lies next in a region and is out; *at is where that ends. Returns false when there is nothing. */
static bool claim_next(struct pager *pager, struct space *space, uint64_t *at, uint64_t end, struct claim *claim)
{
	int rc = 0;

	pthread_mutex_lock(&pager->lock);
	for (; rc == 0 && *at < end; *at += page_size())
		rc = claim_at(pager, space, *at, CLAIM_CLUSTER, claim);
	pthread_mutex_unlock(&pager->lock);
	if (rc > 0)
		*at = claim_end(claim);
	return rc > 0;
}

void fill_prefetch(struct filler *filler, const struct prefetch *prefetch)
{
	struct pager *pager = filler->pager;
	uint64_t at = prefetch->region.start;
	unsigned int pages = 0;
	struct claim claim;

	failpoint("ahead");
	while (claim_next(pager, prefetch->space, &at, prefetch->region.end, &claim)) {
		int rc = bring(filler, &claim);

		if (rc < 0)
			break;
		pages += (unsigned int)rc;
	}
	pthread_mutex_lock(&pager->lock);
	index_header(pager->index)->session.counters.refaulted_pages += pages;
	if (prefetch->space->id == 0)
		refaults_count(pager, pages);
	pthread_mutex_unlock(&pager->lock);
}

/* The walk that a fault goes on with, or begins. Returns it with its steps counted. `lock` is held. */
static struct fault_walk *note_walk(struct pager *pager, const struct space *space, uint64_t address)
{
	struct faults *faults = &pager->faults;
	struct fault_walk *walk;

	for (unsigned int i = 0; i < WALKS; i++) {
		uint64_t beyond; /* the last cluster that came may end behind what was asked for */

		walk = &faults->walks[i];
		beyond = walk->steps > WALK_STEPS ? pager->cluster_pages * page_size() : 0;
		if (walk->space != space->id || address < walk->from || address > walk->to + beyond)
			continue;
		walk->steps++;
		walk->from = address + page_size();
		walk->to = max_u64(walk->to, walk->from);
		return walk;
	}
	walk = &faults->walks[faults->walk_oldest++ % WALKS];
	*walk = (struct fault_walk){.space = space->id, .from = address + page_size(), .to = address + page_size()};
	return walk;
}

/* Pages that a cluster has, or had, beside the one that is wanted. */
static unsigned int count_beside(const struct pager *pager, const struct claim *claim)
{
	const struct cluster *cluster = index_cluster(pager->index, claim->number);

	return cluster->pages - 1 - (unsigned int)__builtin_popcountll(cluster->holes | cluster->lost);
}

/*
 * The other pages of a cluster come when there is reason to think that they are wanted too: another one has come back
 * before, or the program walks through its memory. `lock` is held. Returns whether there is something to prefetch.
 */
static bool choose_prefetch(struct pager *pager, const struct claim *claim, struct fault_walk *walk,
			    struct prefetch *prefetch)
{
	unsigned int others = (unsigned int)__builtin_popcountll(claim->others);
	uint64_t end;

	if (!others || (!walk->steps && others == count_beside(pager, claim)))
		return false;
	end = claim->base + index_cluster(pager->index, claim->number)->pages * page_size();
	if (walk->steps)
		walk->to = max_u64(walk->to, end);
	*prefetch = (struct prefetch){claim->space,
				      {claim->base + (unsigned int)__builtin_ctzll(claim->others) * page_size(), end}};
	return true;
}

/*
 * A program that walks its memory in order is met half-way: what lies behind the cluster that it asked for comes before
 * it asks. The next part is asked for when half of the last one is left. `lock` is held. Returns whether the other
 * thread must be woken for it.
 */
static bool ask_ahead(struct pager *pager, const struct claim *claim, struct fault_walk *walk)
{
	unsigned int steps = walk->steps - WALK_STEPS;
	uint64_t cluster = pager->cluster_pages * page_size();
	uint64_t bytes = cluster << (steps < AHEAD_STEPS ? steps : AHEAD_STEPS);
	uint64_t end = max_u64(walk->to, claim_end(claim));
	bool wake = false;

	if (claim_end(claim) + bytes / 2 <= walk->to)
		return false;
	for (walk->to = end + bytes; end < walk->to; end += cluster)
		wake |= later_prefetch(pager, &(struct prefetch){claim->space, {end, end + cluster}});
	return wake;
}

static bool has_message(const struct filler *filler)
{
	return poll(&(struct pollfd){.fd = filler->epoll, .events = POLLIN}, 1, 0) > 0;
}

/* Both do it: what counts now is how much comes in a second. But who waits for a page comes first. */
static void help_behind(struct filler *filler)
{
	struct pager *pager = filler->pager;
	struct prefetch prefetch;
	bool found;

	do {
		pulse_next(filler->pulse);
		pthread_mutex_lock(&pager->lock);
		found = later_take(pager, &prefetch);
		pthread_mutex_unlock(&pager->lock);
		if (found)
			fill_prefetch(filler, &prefetch);
	} while (found && !has_message(filler));
}

/* A page that was asked for is there. */
static void finish_fault(struct filler *filler, const struct claim *claim, struct fault_walk *walk, unsigned int pages)
{
	struct pager *pager = filler->pager;
	bool watched = index_header(pager->index)->session.watched; /* what has not been touched stays out */
	struct prefetch prefetch;
	bool wake;

	pthread_mutex_lock(&pager->lock);
	index_header(pager->index)->session.counters.refaulted_pages += pages;
	if (claim->space->id == 0)
		refaults_note(pager, claim->base + claim->wanted * page_size(), pages,
			      !watched && walk->steps >= WALK_STEPS);
	wake = !watched && choose_prefetch(pager, claim, walk, &prefetch) && later_prefetch(pager, &prefetch);
	pthread_mutex_unlock(&pager->lock);
	if (wake)
		later_wake(pager);
}

/*
 * What cannot be placed now is not woken, but looked at again later: the fault that would come anew would be read
 * before the event that is in the way, and so would those of all other threads, for ever.
 */
int fill_fault(struct filler *filler, struct space *space, uint64_t address, bool asked_now)
{
	struct pager *pager = filler->pager;
	struct record_counters *counters = &index_header(pager->index)->session.counters;
	struct fault_walk *walk;
	struct claim claim;
	bool in_order, wake = false;
	int rc;

	pthread_mutex_lock(&pager->lock);
	if (index_get(pager->index, space->id, address) == ENTRY_NONE)
		return fill_fresh(pager, space, address);
	walk = note_walk(pager, space, address);
	in_order = walk->steps >= WALK_STEPS && !index_header(pager->index)->session.watched;
	rc = claim_at(pager, space, address, in_order ? CLAIM_CLUSTER : CLAIM_PAGE, &claim);
	if (rc > 0) {
		counters->faults++;
		if (claim.slot >= 0)
			counters->hot_faults++;
		wake = in_order && ask_ahead(pager, &claim, walk);
	}
	pthread_mutex_unlock(&pager->lock);
	if (wake)
		later_wake(pager);
	if (rc <= 0) {
		if (in_order) /* the other thread is bringing it, and it is asked for again */
			help_behind(filler);
		return -EAGAIN;
	}
	claim.asked_now = asked_now;
	rc = bring(filler, &claim);
	if (rc > 0)
		finish_fault(filler, &claim, walk, (unsigned int)rc);
	if (in_order)
		help_behind(filler);
	return rc < 0 ? rc : 0;
}

/* One address a cluster, so that each is brought once. */
struct collection {
	uint64_t addresses[COLLECT];
	unsigned int count;
	uint32_t last;
};

static int collect_cluster(void *context, uint64_t address, index_entry entry)
{
	struct collection *c = context;

	if (entry_cluster(entry) == c->last && c->count)
		return 0;
	if (c->count == COLLECT)
		return 1;
	c->last = entry_cluster(entry);
	c->addresses[c->count++] = address;
	return 0;
}

/*
 * A hole was never there; it needs no page to be as it was. Returns true when the entry was one and is gone now. `lock`
 * held.
 */
static bool drop_hole(struct pager *pager, struct space *space, uint64_t address)
{
	index_entry entry = index_get(pager->index, space->id, address);
	uint32_t number = entry_cluster(entry);

	if (entry == ENTRY_NONE || entry & ENTRY_FILLING ||
	    index_cluster(pager->index, number)->state == CLUSTER_MOVING ||
	    !mask_has_bit(index_cluster(pager->index, number)->holes, entry_sub(entry)))
		return false;
	index_set(pager->index, space->id, address, ENTRY_NONE);
	cluster_unref(pager, number);
	return true;
}

static bool has_enough(const struct filler *filler)
{
	return filler->asker && filler->asker->enough(filler->asker->context);
}

/* Brings the collected clusters. Returns the pages placed. */
static int64_t bring_collected(struct filler *filler, struct space *space, const struct collection *collection,
			       bool *progress)
{
	struct pager *pager = filler->pager;
	int64_t brought = 0;

	for (unsigned int i = 0; i < collection->count && !has_enough(filler); i++) {
		struct claim claim;
		int rc = 0;

		pthread_mutex_lock(&pager->lock);
		if (drop_hole(pager, space, collection->addresses[i]))
			*progress = true;
		else
			rc = claim_at(pager, space, collection->addresses[i], CLAIM_CLUSTER, &claim);
		pthread_mutex_unlock(&pager->lock);
		if (rc > 0)
			rc = bring(filler, &claim);
		if (rc > 0)
			brought += rc;
	}
	*progress |= brought > 0;
	return brought;
}

int64_t fill_region(struct filler *filler, struct space *space, struct region region)
{
	struct pager *pager = filler->pager;
	struct collection *collection = malloc(sizeof(*collection));
	int64_t brought = 0;
	int idle = 0;

	if (!collection)
		return -ENOMEM;
	while (idle < ROUNDS && !has_enough(filler)) {
		bool progress = false;

		pulse_next(filler->pulse);
		collection->count = 0;
		collection->last = 0;
		pthread_mutex_lock(&pager->lock);
		if (!space->dead)
			index_walk(pager->index, space->id, region, collect_cluster, collection);
		pthread_mutex_unlock(&pager->lock);
		if (!collection->count)
			break;
		brought += bring_collected(filler, space, collection, &progress);
		idle = progress ? 0 : idle + 1;
		if (!progress) {
			usleep(BACK_OFF_US * 10);
			space_check(pager, space);
		}
	}
	free(collection);
	pthread_mutex_lock(&pager->lock);
	index_header(pager->index)->session.counters.brought_pages += (uint64_t)brought;
	pthread_mutex_unlock(&pager->lock);
	return idle < ROUNDS ? brought : -EBUSY;
}

/* Where a cluster is out, and nobody is bringing it. */
struct sought {
	uint32_t number;
	uint64_t address;
};

static int seek_cluster(void *context, uint64_t address, index_entry entry)
{
	struct sought *sought = context;

	if (entry_cluster(entry) != sought->number || entry & ENTRY_FILLING)
		return 0;
	sought->address = address;
	return 1;
}

/* Pages of a cluster into one address space. Returns whether there were any that nobody else was bringing. */
static bool bring_some(struct filler *filler, struct space *space, uint32_t number)
{
	const struct region everything = {0, UINT64_MAX};
	struct sought sought = {.number = number};
	struct pager *pager = filler->pager;
	struct claim claim;
	int rc = 0;

	pthread_mutex_lock(&pager->lock);
	if (space->used && !space->dead && index_walk(pager->index, space->id, everything, seek_cluster, &sought) > 0)
		rc = claim_at(pager, space, sought.address, CLAIM_CLUSTER, &claim);
	pthread_mutex_unlock(&pager->lock);
	if (rc <= 0)
		return false;
	if (bring(filler, &claim) < 0)
		usleep(BACK_OFF_US * 10);
	space_check(pager, space);
	return true;
}

static bool is_out(struct pager *pager, uint32_t number)
{
	bool out;

	pthread_mutex_lock(&pager->lock);
	out = index_cluster(pager->index, number)->refs > 0;
	pthread_mutex_unlock(&pager->lock);
	return out;
}

void fill_cluster(struct filler *filler, uint32_t number)
{
	while (is_out(filler->pager, number)) {
		for (unsigned int i = 0; i < INDEX_SPACES; i++)
			while (bring_some(filler, &filler->pager->spaces[i], number))
				;
		usleep(BACK_OFF_US); /* others may be bringing it, and may not be able to */
	}
}
