/* Pages back into an address space: claim, load, place, let go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pager/hook.h"
#include "pager/pager.h"

#define AHEAD_MAX  8
#define COLLECT    1024    /* clusters looked up at a time by fill_region */
#define ROUNDS     2000    /* of fill_region without any progress, a back-off apart */
#define HELD_UP_NS 5000000 /* of a page that needs nothing from us, by an event that does not come */

enum outcome {
	VOID,  /* an event took the page from us before it was placed, or will */
	DONE,  /* it is there now */
	RETRY, /* the kernel said: not now */
	GONE,  /* nothing is registered there any more, and no event will say so: MADV_DONTFORK kept it from a child */
};

/* The pages of one cluster that one thread is bringing into one space. */
struct claim {
	struct space *space;
	uint32_t number;
	uint64_t base;       /* address that page 0 has, or would have */
	unsigned int wanted; /* the page that was asked for */
	uint64_t pages;      /* mask of those claimed */
	uint8_t outcome[CLUSTER_PAGES_MAX];
	const unsigned char *data; /* whole pages by number */
	int slot;                  /* pinned staging slot, or -1 */
};

int filler_init(struct filler *filler, struct pager *pager)
{
	size_t bytes = pager->cluster_pages * page_size();

	*filler = (struct filler){.pager = pager};
	if (store_scratch_new(&filler->scratch, bytes) < 0)
		return -ENOMEM;
	filler->pages = aligned_alloc(page_size(), bytes);
	filler->packed = aligned_alloc(page_size(), bytes);
	if (!filler->pages || !filler->packed) {
		filler_free(filler);
		return -ENOMEM;
	}
	memset(filler->pages, 0, bytes);
	memset(filler->packed, 0, bytes);
	return 0;
}

void filler_free(struct filler *filler)
{
	store_scratch_free(filler->scratch);
	free(filler->pages);
	free(filler->packed);
	*filler = (struct filler){0};
}

static void release_cluster(struct pager *pager, uint32_t number)
{
	struct cluster *cluster = index_cluster(pager->index, number);

	if (cluster->refs || cluster->pins)
		return;
	if (cluster->state == CLUSTER_STORED && cluster->slot.length) {
		struct index_counters *counters = &index_header(pager->index)->counters;

		struct store_slot slot;
		struct store *store = tier_of(pager, cluster, &slot);

		counters->stored_bytes -= min_u64(counters->stored_bytes, slot.size);
		counters->compressed_bytes -= min_u64(counters->compressed_bytes, slot.length);
		store_free(store, &slot);
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

static bool bit(uint64_t mask, unsigned int i)
{
	return mask >> i & 1;
}

/* Marks what is brought together: the page asked for, and its neighbours of the same cluster that lie where they lay. `lock` held. */
static void claim_pages(struct pager *pager, struct claim *claim, uint64_t address, index_entry entry)
{
	struct cluster *cluster = index_cluster(pager->index, entry_cluster(entry));

	claim->number = entry_cluster(entry);
	claim->wanted = entry_sub(entry);
	claim->base = address - claim->wanted * page_size();
	claim->slot = -1;
	for (unsigned int i = 0; i < cluster->pages; i++) {
		uint64_t at = claim->base + i * page_size();
		index_entry mine = entry_make(claim->number, i);

		if (i != claim->wanted &&
		    (bit(cluster->holes | cluster->lost, i) || index_get(pager->index, claim->space->id, at) != mine))
			continue;
		index_set(pager->index, claim->space->id, at, mine | ENTRY_FILLING);
		claim->pages |= UINT64_C(1) << i;
	}
	cluster->pins++;
	if (cluster->state == CLUSTER_STAGED) {
		claim->slot = (int)((cluster->staging - pager->staging.start) / SLOT_BYTES);
		pager->slot_pins[claim->slot]++;
		claim->data = pager->mirror + (cluster->staging - pager->staging.start);
	}
}

uint64_t cluster_tag(const struct pager *pager, uint32_t number)
{
	const struct cluster *cluster = index_cluster(pager->index, number);

	return (uint64_t)number << 32 | cluster->generation;
}

/* Spreads what the store gave back over the pages that it belongs to. */
static void unpack(struct filler *filler, const struct claim *claim, uint64_t apart)
{
	struct pager *pager = filler->pager;
	const struct cluster *cluster = index_cluster(pager->index, claim->number);
	const unsigned char *packed = filler->packed;
	size_t page = page_size();

	for (unsigned int i = 0; i < cluster->pages; i++) {
		unsigned char *to = filler->pages + i * page;

		if (!bit(apart, i)) {
			memcpy(to, packed, page);
			packed += page;
		} else if (bit(cluster->filled, i)) {
			uint64_t word = *index_fill(pager->index, claim->number, i, false);

			for (size_t at = 0; at < page; at += sizeof(word))
				memcpy(to + at, &word, sizeof(word));
		} else {
			memset(to, 0, page);
		}
	}
}

/* Pages of which the store alone knows the contents. */
static uint64_t data_pages(const struct cluster *cluster)
{
	uint64_t all = (UINT64_C(2) << (cluster->pages - 1)) - 1;

	return all & ~(cluster->holes | cluster->zeros | cluster->filled);
}

/* The store gave back something else than was written, or nothing: whoever touches these pages gets SIGBUS, never wrong bytes. */
static void lose(struct pager *pager, uint32_t number)
{
	struct cluster *cluster = index_cluster(pager->index, number);

	pthread_mutex_lock(&pager->lock);
	cluster->lost = data_pages(cluster);
	pthread_mutex_unlock(&pager->lock);
}

/*
 * The contents of a cluster, page by page; nothing can change or free it: it is pinned. With `first` only so much is decompressed as the page
 * that was asked for needs, where that is less work. What the store does not give back is lost.
 * Returns whether more is to be loaded.
 */
static bool load(struct filler *filler, struct claim *claim, bool first)
{
	struct pager *pager = filler->pager;
	const struct cluster *cluster = index_cluster(pager->index, claim->number);
	uint64_t apart = cluster->holes | cluster->zeros | cluster->filled | cluster->lost;
	uint64_t tag = cluster_tag(pager, claim->number);
	struct store_slot slot;
	const struct store *store;
	int64_t rc = 0;

	if (claim->data)
		return false;
	claim->data = filler->pages;
	store = tier_of(pager, cluster, &slot);
	if (slot.size > pager->cluster_pages * page_size())
		rc = -EBADMSG;
	else if (!apart && first)
		rc = store_read_first(store, filler->scratch, &slot, tag, filler->pages,
				      (claim->wanted + 1) * page_size());
	else if (data_pages(cluster) & ~cluster->lost)
		rc = store_read(store, filler->scratch, &slot, tag, apart ? filler->packed : filler->pages);
	if (rc < 0)
		lose(pager, claim->number);
	if (apart) /* known without the store, whatever became of it */
		unpack(filler, claim, apart);
	return rc > 0 && rc < (int64_t)slot.size;
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

	if (bit(cluster->lost, i))
		return POISON;
	/* A zero page among others travels with them in one call; alone, the shared zero page costs the target no memory. */
	return bit(cluster->holes, i) || all_zero ? ZERO : DATA;
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
		return uffd_copy(claim->space->uffd, at, claim->data + first * page_size(), bytes, true, done);
	}
}

/*
 * Places pages [first, end) of the claim, all of one kind. `events` is held shared. A call fails as a whole when its range does not lie in one
 * mapping (the target may have split it by mprotect, of which no event tells): page by page then.
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

/* Places the pages of a mask, as far as they are still ours to place. */
static void place(struct pager *pager, struct claim *claim, uint64_t mask)
{
	const struct cluster *cluster = index_cluster(pager->index, claim->number);
	uint64_t valid = 0;

	pthread_rwlock_rdlock(&claim->space->events);
	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (bit(claim->pages & mask, i) && !claim->space->dead &&
		    index_get(pager->index, claim->space->id, claim->base + i * page_size()) ==
			    (entry_make(claim->number, i) | ENTRY_FILLING))
			valid |= UINT64_C(1) << i;
	pthread_mutex_unlock(&pager->lock);
	for (unsigned int i = 0; i < cluster->pages;) {
		unsigned int end = i + 1;

		if (!bit(valid, i)) {
			i++;
			continue;
		}
		while (end < cluster->pages && bit(valid, end) && kind_of(cluster, end) == kind_of(cluster, i))
			end++;
		place_run(claim, kind_of(cluster, i), i, end);
		i = end;
	}
	pthread_rwlock_unlock(&claim->space->events);
}

/* What was placed has no entry any more; what was not keeps it, unmarked. Returns how many pages were placed. */
static unsigned int let_go(struct pager *pager, struct claim *claim)
{
	struct cluster *cluster = index_cluster(pager->index, claim->number);
	unsigned int placed = 0;

	pthread_mutex_lock(&pager->lock);
	for (unsigned int i = 0; i < cluster->pages; i++) {
		uint64_t at = claim->base + i * page_size();

		if (!bit(claim->pages, i) ||
		    index_get(pager->index, claim->space->id, at) != (entry_make(claim->number, i) | ENTRY_FILLING))
			continue;
		if (claim->outcome[i] == DONE || claim->outcome[i] == GONE) {
			index_set(pager->index, claim->space->id, at, ENTRY_NONE);
			cluster->refs--;
			placed += claim->outcome[i] == DONE;
			index_header(pager->index)->counters.poisoned_pages +=
				claim->outcome[i] == DONE && bit(cluster->lost, i);
		} else {
			index_set(pager->index, claim->space->id, at, entry_make(claim->number, i));
		}
	}
	if (claim->slot >= 0)
		pager->slot_pins[claim->slot]--;
	claim->space->check_soon = true;
	cluster_unpin(pager, claim->number);
	pthread_mutex_unlock(&pager->lock);
	return placed;
}

/*
 * Loads and places what is claimed; with `first` the page that was asked for before the others. Returns the pages placed, or -EAGAIN when that page was not,
 * and is to be asked for again.
 */
static int bring(struct filler *filler, struct claim *claim, bool first)
{
	struct pager *pager = filler->pager;
	uint64_t wanted = UINT64_C(1) << claim->wanted;
	struct region whole = {claim->base, claim->base + CLUSTER_PAGES_MAX * page_size()};
	bool incomplete = false;
	unsigned int placed;
	bool more;

	hook("filling");
	more = load(filler, claim, first);
	hook("loaded");
	if (more) {
		const struct store_slot *slot = &index_cluster(pager->index, claim->number)->slot;

		place(pager, claim, wanted);
		hook("placed-first");
		if (store_read_rest(filler->scratch, slot, filler->pages) < 0)
			lose(pager, claim->number);
		place(pager, claim, ~wanted);
	} else {
		place(pager, claim, UINT64_MAX);
	}
	for (unsigned int i = 0; i < CLUSTER_PAGES_MAX; i++)
		incomplete |= bit(claim->pages, i) && claim->outcome[i] != DONE;
	hook("placed");
	placed = let_go(pager, claim);
	hook("filled");
	if (incomplete) {
		/* Others may have faulted on a page that was ours; their messages are read. They fault again, and find it free. */
		usleep(BACK_OFF_US);
		pthread_rwlock_rdlock(&claim->space->events);
		if (!claim->space->dead)
			uffd_wake(claim->space->uffd, whole);
		pthread_rwlock_unlock(&claim->space->events);
	}
	return claim->outcome[claim->wanted] == DONE ? (int)placed : -EAGAIN;
}

/* Claims the cluster of a page that is out. Returns 1 with a claim, 0 when there is nothing to do here, -EAGAIN when it is on its way out. */
static int claim_at(struct pager *pager, struct space *space, uint64_t address, struct claim *claim)
{
	index_entry entry = index_get(pager->index, space->id, address);

	if (entry == ENTRY_NONE || entry & ENTRY_FILLING)
		return 0;
	if (index_cluster(pager->index, entry_cluster(entry))->state == CLUSTER_MOVING)
		return -EAGAIN;
	*claim = (struct claim){.space = space};
	claim_pages(pager, claim, address, entry);
	return 1;
}

static struct zero_claim *find_zeroing(struct pager *pager, unsigned int space, uint64_t address)
{
	for (size_t i = 0; i < ARRAY_SIZE(pager->zeroing); i++)
		if (pager->zeroing[i].address == address && pager->zeroing[i].space == space)
			return &pager->zeroing[i];
	return NULL;
}

/*
 * mremap(2) of locked memory fills what it has grown by before it says that it has moved it (mm/mremap.c, do_mremap): that fault would wait for the event, and
 * the event for the fault. Such a page is none of ours: the kernel may give it the zeros. So it may with any other page that was never out, if events
 * are late for another reason.
 */
static void leave_to_kernel(struct pager *pager, struct space *space, struct region page)
{
	uint64_t now = latency_now_ns();
	uint64_t since = 0;

	if (atomic_compare_exchange_strong(&space->held_up_since_ns, &since, now) || now - since < HELD_UP_NS) {
		usleep(BACK_OFF_US);
		return;
	}
	pthread_mutex_lock(&pager->lock);
	region_vec_remove(&space->registered, page);
	if (!space->left_to_kernel.end)
		space->left_to_kernel = page;
	space->left_to_kernel.start = min_u64(space->left_to_kernel.start, page.start);
	space->left_to_kernel.end = max_u64(space->left_to_kernel.end, page.end);
	pthread_mutex_unlock(&pager->lock);
	uffd_unregister(space->uffd, page);
}

static int place_zero(struct pager *pager, struct space *space, uint64_t address, bool write)
{
	static const unsigned char zeros[65536] __attribute__((aligned(65536)));
	struct region page = {address, address + page_size()};
	size_t done;
	int rc = -EAGAIN;

	pthread_rwlock_rdlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	if (space->dead)
		rc = -ESRCH;
	else if (index_get(pager->index, space->id, address) == ENTRY_NONE)
		rc = 0;
	pthread_mutex_unlock(&pager->lock);
	if (rc == 0) {
		/* A reader gets the shared zero page as it would have from the kernel; a writer is spared the second fault. */
		rc = write ? uffd_copy(space->uffd, address, zeros, page_size(), true, &done)
			   : uffd_zeropage(space->uffd, address, page_size(), &done);
		if (rc == -EAGAIN)
			leave_to_kernel(pager, space, page);
		else if (rc == -ENOMEM)
			usleep(BACK_OFF_US);
		if (rc < 0)
			uffd_wake(space->uffd, page);
	}
	pthread_rwlock_unlock(&space->events);
	return rc == -ESRCH ? -ESRCH : 0;
}

/* A page that was never out, or that the target discarded. `lock` is held, and released here. */
static int fill_fresh(struct pager *pager, struct space *space, uint64_t address, bool write)
{
	struct zero_claim *claim = find_zeroing(pager, 0, 0);
	int rc;

	if (find_zeroing(pager, space->id, address) || !claim) {
		pthread_mutex_unlock(&pager->lock);
		return claim ? 0 : -EAGAIN;
	}
	*claim = (struct zero_claim){space->id, address};
	index_header(pager->index)->counters.fresh_faults++;
	pthread_mutex_unlock(&pager->lock);
	hook("zeroing");
	rc = place_zero(pager, space, address, write);
	pthread_mutex_lock(&pager->lock);
	*claim = (struct zero_claim){0, 0};
	pthread_mutex_unlock(&pager->lock);
	return rc;
}

static uint64_t claim_end(const struct claim *claim)
{
	return claim->base + (64 - (unsigned int)__builtin_clzll(claim->pages)) * page_size();
}

/* Brings the clusters from `at` on, as long as the next one is out. Returns the pages brought; *end is where it stopped. */
static unsigned int bring_next(struct filler *filler, struct space *space, uint64_t at, unsigned int clusters,
			       uint64_t *end)
{
	struct pager *pager = filler->pager;
	unsigned int pages = 0;

	for (*end = at; clusters--;) {
		struct claim claim;
		int rc;

		pthread_mutex_lock(&pager->lock);
		rc = claim_at(pager, space, *end, &claim);
		pthread_mutex_unlock(&pager->lock);
		if (rc > 0)
			rc = bring(filler, &claim, false);
		if (rc <= 0)
			break;
		pages += (unsigned int)rc;
		*end = claim_end(&claim);
	}
	return pages;
}

/*
 * A program that walks its memory in order is met half-way: the clusters behind the one it asked for come before it asks, those behind them by another
 * thread at the same time. Returns the pages brought by this one.
 */
static unsigned int read_ahead(struct filler *filler, struct space *space, uint64_t address, uint64_t end)
{
	struct pager *pager = filler->pager;
	uint64_t share = AHEAD_MAX * pager->cluster_pages * page_size();
	bool walking = filler->walk_space == space->id && address == filler->walk_next;
	unsigned int pages;

	if (index_header(pager->index)->watched)
		return 0; /* what has not been touched stays out */
	filler->walk_ahead = walking ? (unsigned int)min_u64(filler->walk_ahead * 2 + 1, AHEAD_MAX) : 0;
	if (filler->walk_ahead == AHEAD_MAX)
		ahead_ask(pager, space, end + share);
	pages = bring_next(filler, space, end, filler->walk_ahead, &filler->walk_next);
	filler->walk_space = space->id;
	if (filler->walk_ahead == AHEAD_MAX && filler->walk_next == end + share)
		filler->walk_next += share;
	return pages;
}

void fill_ahead(struct filler *filler, struct space *space, uint64_t address)
{
	struct pager *pager = filler->pager;
	uint64_t end;
	unsigned int pages = bring_next(filler, space, address, AHEAD_MAX, &end);

	pthread_mutex_lock(&pager->lock);
	index_header(pager->index)->counters.refaulted_pages += pages;
	pthread_mutex_unlock(&pager->lock);
}

int fill_fault(struct filler *filler, struct space *space, uint64_t address, bool write)
{
	struct pager *pager = filler->pager;
	struct index_counters *counters = &index_header(pager->index)->counters;
	struct claim claim;
	int rc;

	pthread_mutex_lock(&pager->lock);
	if (index_get(pager->index, space->id, address) == ENTRY_NONE)
		return fill_fresh(pager, space, address, write);
	rc = claim_at(pager, space, address, &claim);
	if (rc > 0) {
		counters->faults++;
		if (claim.slot >= 0)
			counters->hot_faults++;
	}
	pthread_mutex_unlock(&pager->lock);
	if (rc <= 0)
		return rc;
	rc = bring(filler, &claim, !filler->walk_ahead);
	if (rc > 0) {
		rc += (int)read_ahead(filler, space, address, claim_end(&claim));
		pthread_mutex_lock(&pager->lock);
		counters->refaulted_pages += (unsigned int)rc;
		if (space->id == 0)
			refaults_note(pager, address, (unsigned int)rc);
		pthread_mutex_unlock(&pager->lock);
	}
	return 0;
}

/* One address a cluster, so that each is brought once. */
struct collection {
	uint64_t addresses[COLLECT];
	unsigned int count;
	uint32_t last;
};

static int collect(void *context, uint64_t address, index_entry entry)
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

/* A hole was never there; it needs no page to be as it was. Returns true when the entry was one and is gone now. `lock` held. */
static bool drop_hole(struct pager *pager, struct space *space, uint64_t address)
{
	index_entry entry = index_get(pager->index, space->id, address);
	uint32_t number = entry_cluster(entry);

	if (entry == ENTRY_NONE || entry & ENTRY_FILLING ||
	    index_cluster(pager->index, number)->state == CLUSTER_MOVING ||
	    !bit(index_cluster(pager->index, number)->holes, entry_sub(entry)))
		return false;
	index_set(pager->index, space->id, address, ENTRY_NONE);
	cluster_unref(pager, number);
	return true;
}

/* Brings the collected clusters. Returns the pages placed. */
static int64_t bring_collected(struct filler *filler, struct space *space, const struct collection *collection,
			       bool *progress)
{
	struct pager *pager = filler->pager;
	int64_t brought = 0;

	for (unsigned int i = 0; i < collection->count; i++) {
		struct claim claim;
		int rc = 0;

		pthread_mutex_lock(&pager->lock);
		if (drop_hole(pager, space, collection->addresses[i]))
			*progress = true;
		else
			rc = claim_at(pager, space, collection->addresses[i], &claim);
		pthread_mutex_unlock(&pager->lock);
		if (rc > 0)
			rc = bring(filler, &claim, false);
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
	while (idle < ROUNDS) {
		bool progress = false;

		collection->count = 0;
		collection->last = 0;
		pthread_mutex_lock(&pager->lock);
		if (!space->dead)
			index_walk(pager->index, space->id, region, collect, collection);
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
	index_header(pager->index)->counters.brought_pages += (uint64_t)brought;
	pthread_mutex_unlock(&pager->lock);
	return idle < ROUNDS ? brought : -EBUSY;
}

/* Where a cluster is out. */
struct sought {
	uint32_t number;
	uint64_t address;
};

static int seek(void *context, uint64_t address, index_entry entry)
{
	struct sought *sought = context;

	if (entry_cluster(entry) != sought->number || entry & ENTRY_FILLING)
		return 0;
	sought->address = address;
	return 1;
}

void fill_cluster(struct filler *filler, uint32_t number)
{
	struct pager *pager = filler->pager;

	for (unsigned int i = 0; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];
		struct sought sought = {.number = number};
		struct claim claim;
		int rc = 0;

		pthread_mutex_lock(&pager->lock);
		if (space->used && !space->dead &&
		    index_walk(pager->index, i, (struct region){0, UINT64_MAX}, seek, &sought) > 0)
			rc = claim_at(pager, space, sought.address, &claim);
		pthread_mutex_unlock(&pager->lock);
		if (rc <= 0)
			continue;
		if (bring(filler, &claim, false) < 0)
			usleep(BACK_OFF_US * 10);
		space_check(pager, space);
		i--; /* there may be more of it */
	}
}
