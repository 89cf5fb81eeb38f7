/* SPDX-License-Identifier: MIT */
/*
 * What the index says against what the store and the target have. Nothing is changed, and nothing that is on its way is
 * taken for wrong.
 */

#include "swapin/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/index.h"
#include "pager/cluster.h"
#include "pager/job.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pager/tiers.h"
#include "pages/pages.h"
#include "report/report.h"
#include "swapin/bring.h"
#include "swapin/filler.h"

#define CHUNK       4096 /* entries looked at under the lock at a time */
#define INSPECTIONS 100  /* at a page that seems to be out and in at once, INSPECT_US apart */
#define INSPECT_US  5000
#define EMIT_MOST   1000 /* records; the rest is only counted */
#define TIDY_TRIES  1000 /* a millisecond apart */
#define SLOT_TRIES  100  /* SLOT_US apart: each takes `lock` for as long as there are clusters */
#define SLOT_US     20000
#define NO_ADDRESS  UINT64_MAX

/* What is known of a cluster from the entries that point to it. */
struct tally {
	uint32_t refs;
	uint64_t start; /* of its first page, in the target; NO_ADDRESS when it is out in children only */
};

/* A record, as the index had it at one moment. */
struct placed {
	struct cluster_slot slot;
	uint32_t number, generation;
};

struct check {
	struct pager *pager;
	struct check_sums *sums;
	json_t *found; /* records to be emitted when no lock is held */
	emit_fn emit;
	void *context;

	uint64_t clusters;
	struct tally *tallies;
	struct placed *placed;
	size_t placed_count;

	/* A walk over the entries of one address space, a chunk at a time. */
	unsigned int space;
	uint64_t next;
	unsigned int left;
	uint64_t out[CHUNK]; /* addresses of pages that are out and that nobody is bringing */
	index_entry entries[CHUNK];
	uint64_t pagemap[CHUNK];
	unsigned int out_count;
};

static void note_problem(struct check *check, int code, const char *why, uint64_t start, uint32_t number)
{
	struct error error;
	char text[ADDRESS_TEXT];
	json_t *record;

	if (check->sums->errors++ >= EMIT_MOST)
		return;
	error_set(&error, code, why, NULL, "check");
	record = error_record("check", &error);
	if (record && start != NO_ADDRESS)
		json_object_set_new(record, "start", json_string(address_format(text, start)));
	if (record && number)
		report_number(record, "cluster", (uint64_t)number);
	json_array_append_new(check->found, record);
}

/* No lock is held: the reader of the answer may be slow. */
static void emit_found(struct check *check)
{
	size_t i;
	json_t *record;

	json_array_foreach(check->found, i, record)
		check->emit(check->context, json_incref(record));
	json_array_clear(check->found);
}

static uint64_t data_mask(const struct cluster *c)
{
	uint64_t all = (UINT64_C(2) << (c->pages - 1)) - 1;

	return all & ~(c->holes | c->zeros | c->filled);
}

/* `lock` is held. */
static int see_entry(void *context, uint64_t address, index_entry entry)
{
	struct check *check = context;
	const struct space *space = &check->pager->spaces[check->space];
	uint32_t number = entry_cluster(entry);
	const struct cluster *cluster;

	if (!check->left--) {
		check->next = address;
		return 1;
	}
	cluster = number && number < check->clusters ? index_cluster(check->pager->index, number) : NULL;
	if (!cluster || cluster->state == CLUSTER_FREE || entry_sub(entry) >= cluster->pages) {
		note_problem(check, -EUCLEAN, "the page is out, and the index does not say where", address, number);
		return 0;
	}
	check->tallies[number].refs++;
	if (check->space)
		return 0;
	check->tallies[number].start = address - entry_sub(entry) * page_size();
	if (!space_registered(space, (struct region){address, address + page_size()}))
		note_problem(check, -EUCLEAN, "the page is out, and its mapping is not watched", address, number);
	if (!(entry & ENTRY_FILLING) && cluster->state == CLUSTER_STORED && check->out_count < CHUNK) {
		check->entries[check->out_count] = entry;
		check->out[check->out_count++] = address;
	}
	return 0;
}

/* Keeps of the pages noted those that are in core as well, with their entry unchanged. */
static void keep_both(struct check *check)
{
	struct pager *pager = check->pager;
	size_t page = page_size();
	unsigned int kept = 0;

	for (unsigned int i = 0, end; i < check->out_count; i = end) {
		for (end = i + 1; end < check->out_count && check->out[end] == check->out[end - 1] + page;)
			end++;
		if (pagemap_read(pager->view.pagemap_fd, check->out[i], end - i, check->pagemap) < 0)
			continue;
		pthread_mutex_lock(&pager->lock);
		for (unsigned int at = i; at < end; at++) {
			if (!(check->pagemap[at - i] & PAGEMAP_PRESENT) ||
			    index_get(pager->index, 0, check->out[at]) != check->entries[at])
				continue;
			check->entries[kept] = check->entries[at];
			check->out[kept++] = check->out[at];
		}
		pthread_mutex_unlock(&pager->lock);
	}
	check->out_count = kept;
}

/* A page in core with an entry that nobody works on, for longer than an event takes to be read: the entry is wrong. */
static void inspect_pages(struct check *check)
{
	keep_both(check);
	for (unsigned int tries = 0; tries < INSPECTIONS && check->out_count; tries++) {
		usleep(INSPECT_US);
		keep_both(check);
	}
	for (unsigned int i = 0; i < check->out_count; i++)
		note_problem(check, -EUCLEAN, "the page is out, and in core as well", check->out[i],
			     entry_cluster(check->entries[i]));
	check->out_count = 0;
}

static void walk_in_chunks(struct check *check)
{
	struct pager *pager = check->pager;

	for (check->space = 0; check->space < INDEX_SPACES; check->space++) {
		int more;

		check->next = 0;
		do {
			const struct space *space = &pager->spaces[check->space];

			job_step(pager);
			check->left = CHUNK;
			pthread_mutex_lock(&pager->lock);
			more = space->used && !space->dead &&
			       index_walk(pager->index, check->space, (struct region){check->next, UINT64_MAX},
					  see_entry, check) > 0;
			pthread_mutex_unlock(&pager->lock);
			inspect_pages(check);
			emit_found(check);
		} while (more);
	}
}

static bool refs_agree(const struct check *check)
{
	for (uint64_t i = 1; i < check->clusters; i++) {
		const struct cluster *cluster = index_cluster(check->pager->index, (uint32_t)i);

		if (cluster->state != CLUSTER_FREE && cluster->refs != check->tallies[i].refs)
			return false;
	}
	return true;
}

static int count_entry(void *context, uint64_t address, index_entry entry)
{
	struct check *check = context;

	(void)address;
	if (entry_cluster(entry) < check->clusters)
		check->tallies[entry_cluster(entry)].refs++;
	return 0;
}

/*
 * What moved between two chunks was counted twice or not at all: where counts differ, they are taken again, all at
 * once. `lock` is held.
 */
static void check_refs(struct check *check)
{
	struct pager *pager = check->pager;

	if (refs_agree(check))
		return;
	for (uint64_t i = 0; i < check->clusters; i++)
		check->tallies[i].refs = 0;
	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead)
			index_walk(pager->index, i, (struct region){0, UINT64_MAX}, count_entry, check);
	for (uint64_t i = 1; i < check->clusters; i++) {
		const struct cluster *cluster = index_cluster(pager->index, (uint32_t)i);

		if (cluster->state != CLUSTER_FREE && cluster->refs != check->tallies[i].refs)
			note_problem(check, -EUCLEAN, "a cluster counts other pages than point to it",
				     check->tallies[i].start, (uint32_t)i);
	}
}

/* Notes the slots in use. Returns whether the stores have the same, at this moment. `lock` is held. */
static bool note_slots(struct check *check)
{
	struct pager *pager = check->pager;
	struct store_usage usage, pool, sum = {0};

	check->placed_count = 0;
	check->sums->clusters = check->sums->entries = check->sums->poisoned_pages = 0;
	store_usage(pager->tiers.store, &usage);
	store_usage(pager->tiers.pool, &pool);
	usage.slots += pool.slots;
	usage.stored += pool.stored;
	usage.allocated += pool.allocated;
	for (uint64_t i = 1; i < check->clusters; i++) {
		const struct cluster *cluster = index_cluster(pager->index, (uint32_t)i);
		struct placed *placed = &check->placed[check->placed_count];

		check->sums->clusters += cluster->state != CLUSTER_FREE;
		check->sums->entries += cluster->state != CLUSTER_FREE ? cluster->refs : 0;
		if (cluster->state != CLUSTER_STORED)
			continue;
		check->sums->poisoned_pages += (unsigned int)__builtin_popcountll(cluster->lost);
		if (!cluster->slot.length)
			continue;
		*placed = (struct placed){cluster->slot, (uint32_t)i, cluster->generation};
		placed->slot.offset &= ~SLOT_DENSE;
		check->placed_count++;
		sum.slots++;
		sum.stored += cluster->slot.length;
		sum.allocated += round_up(cluster->slot.length, STORE_GRAIN);
	}
	return usage.slots == sum.slots && usage.stored == sum.stored && usage.allocated == sum.allocated;
}

/* A record that is made anew (pager/dense.c) has two places for a moment, and is known by one. */
static void check_slots(struct check *check)
{
	bool agree = false;

	for (int tries = 0; !agree && tries < SLOT_TRIES; tries++) {
		if (tries)
			usleep(SLOT_US);
		pthread_mutex_lock(&check->pager->lock);
		agree = note_slots(check);
		pthread_mutex_unlock(&check->pager->lock);
	}
	if (!agree)
		note_problem(check, -EUCLEAN, "the store counts other records than the index has", NO_ADDRESS, 0);
}

static int by_offset(const void *a, const void *b)
{
	const struct placed *x = a;
	const struct placed *y = b;

	return x->slot.offset < y->slot.offset ? -1 : x->slot.offset > y->slot.offset;
}

static void check_places(struct check *check)
{
	uint64_t end = 0;

	qsort(check->placed, check->placed_count, sizeof(*check->placed), by_offset);
	for (size_t i = 0; i < check->placed_count; i++) {
		const struct placed *placed = &check->placed[i];
		uint64_t start = check->tallies[placed->number].start;

		if (placed->slot.offset % STORE_GRAIN)
			note_problem(check, -EUCLEAN, "a record begins where none can", start, placed->number);
		if (placed->slot.offset < end)
			note_problem(check, -EUCLEAN, "two records overlap in the store", start, placed->number);
		end = max_u64(end, placed->slot.offset + placed->slot.length);
	}
}

/* Those units of a cluster's record that are not known to be lost. */
static uint64_t units_expected(const struct cluster *cluster)
{
	uint64_t units = 0;
	unsigned int unit = 0;

	for (unsigned int i = 0; i < cluster->pages; i++) {
		if (!mask_has_bit(data_mask(cluster), i))
			continue;
		if (!mask_has_bit(cluster->lost, i))
			units |= UINT64_C(1) << unit;
		unit++;
	}
	return units;
}

/*
 * Keeps the cluster while its record is read. Returns how many pages that holds; 0 when it is no longer there, or all
 * known to be lost. *units: those that are not.
 */
static unsigned int pin_cluster(struct pager *pager, const struct placed *placed, uint64_t *units)
{
	struct cluster *cluster = index_cluster(pager->index, placed->number);
	unsigned int pages = 0;

	*units = 0;

	pthread_mutex_lock(&pager->lock);
	if (cluster->state == CLUSTER_STORED && cluster->generation == placed->generation &&
	    (cluster->refs || cluster->pins))
		*units = units_expected(cluster);
	if (*units)
		pages = (unsigned int)__builtin_popcountll(data_mask(cluster));
	cluster->pins += pages > 0;
	pthread_mutex_unlock(&pager->lock);
	return pages;
}

static int read_back(const struct check *check, const struct store *store, struct filler *filler,
		     const struct store_slot *slot, uint32_t number, uint64_t units)
{
	bool force = confine_force(false);
	uint64_t bad;
	int rc = store_read_units(store, filler->scratch, slot, cluster_tag(check->pager, number), units, filler->pages,
				  &bad);

	confine_force(force);
	return rc;
}

static void read_record(struct check *check, struct filler *filler, const struct placed *placed)
{
	struct pager *pager = check->pager;
	uint64_t start = check->tallies[placed->number].start;
	uint64_t units;
	unsigned int pages = pin_cluster(pager, placed, &units);
	const struct store *store;
	struct store_slot slot;
	struct stat st;
	int rc = 0;

	if (!pages)
		return;
	check->sums->records++;
	/* It may have been written back since. */
	store = tier_of(pager, placed->number, &slot);
	if (slot.size != pages * page_size())
		note_problem(check, -EUCLEAN, "a record holds more or fewer pages than its cluster", start,
			     placed->number);
	else if (fstat(store == pager->tiers.pool ? pager->tiers.pool_fd : pager->tiers.store_fd, &st) == 0 &&
		 slot.offset + slot.length > (uint64_t)st.st_size)
		note_problem(check, -EBADMSG, "the store ends before its record does", start, placed->number);
	else
		rc = read_back(check, store, filler, &slot, placed->number, units);
	if (rc < 0)
		note_problem(check, rc, rc == -EBADMSG ? "the store does not hold what was written" : NULL, start,
			     placed->number);
	pthread_mutex_lock(&pager->lock);
	cluster_unpin(pager, placed->number);
	pthread_mutex_unlock(&pager->lock);
}

static int read_records(struct check *check)
{
	struct filler filler;
	int rc = filler_init(&filler, check->pager);

	for (size_t i = 0; rc == 0 && i < check->placed_count; i++) {
		read_record(check, &filler, &check->placed[i]);
		if (json_array_size(check->found))
			emit_found(check);
	}
	if (rc == 0)
		filler_free(&filler);
	return rc;
}

/* Returns false when the program changes its mappings all the time. */
static bool tidy_spaces(struct pager *pager)
{
	for (int i = 0; i < TIDY_TRIES; i++) {
		if (space_tidy(pager))
			return true;
		usleep(1000);
	}
	return false;
}

/* Mappings that are registered although nothing of them is out, after all such were looked for. */
static void check_registered(struct check *check)
{
	struct pager *pager = check->pager;
	struct space *space = &pager->spaces[0];
	_cleanup_regions_ struct region_vec idle = {0};

	if (!tidy_spaces(pager))
		return;
	pthread_mutex_lock(&pager->lock);
	for (size_t i = 0; i < space->registered.count; i++)
		if (!index_any(pager->index, 0, space->registered.items[i]))
			region_vec_push(&idle, space->registered.items[i]);
	pthread_mutex_unlock(&pager->lock);
	if (!idle.count || !tidy_spaces(pager)) /* pages came back in between */
		return;
	pthread_mutex_lock(&pager->lock);
	for (size_t i = 0; i < idle.count; i++)
		if (space_registered(space, idle.items[i]) && !index_any(pager->index, 0, idle.items[i]))
			note_problem(check, -EUCLEAN, "a mapping is watched although nothing of it is out",
				     idle.items[i].start, 0);
	pthread_mutex_unlock(&pager->lock);
}

/* `job` is held: nothing is being swapped out. */
static int check_index(struct check *check)
{
	struct pager *pager = check->pager;

	check->clusters = index_header(pager->index)->clusters;
	check->tallies = calloc(check->clusters, sizeof(*check->tallies));
	check->placed = calloc(check->clusters, sizeof(*check->placed));
	if (!check->tallies || !check->placed)
		return -ENOMEM;
	for (uint64_t i = 0; i < check->clusters; i++)
		check->tallies[i].start = NO_ADDRESS;
	walk_in_chunks(check);
	pthread_mutex_lock(&pager->lock);
	check_refs(check);
	pthread_mutex_unlock(&pager->lock);
	check_slots(check);
	check_places(check);
	check_registered(check);
	emit_found(check);
	return pager->spaces[0].dead ? -ESRCH : 0;
}

int check_session(struct pager *pager, emit_fn emit, void *context, struct check_sums *sums)
{
	struct check *check = calloc(1, sizeof(*check));
	int rc = -ENOMEM;

	*sums = (struct check_sums){0};
	if (!check)
		return rc;
	*check = (struct check){.pager = pager, .sums = sums, .found = json_array(), .emit = emit, .context = context};
	job_begin(pager);
	rc = atomic_load(&pager->ended) || pager->spaces[0].dead ? -ESRCH : check_index(check);
	job_end(pager);
	if (rc == 0)
		rc = read_records(check);
	json_decref(check->found);
	free(check->tallies);
	free(check->placed);
	free(check);
	return rc;
}
