/* SPDX-License-Identifier: MIT */
/* A worker that takes over from one that died, at whatever moment that was. */
#include "worker/recover.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "index/index.h"
#include "pager/cluster.h"
#include "pager/events.h"
#include "pager/keeper.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pager/target_fds.h"
#include "pager/tiers.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "service/failpoint.h"
#include "service/fdstore.h"
#include "swapin/fill.h"
#include "swapin/filler.h"
#include "swapout/mirror.h"
#include "swapout/staging.h"

#define MEMORY_AGAIN_US 10000

static int open_store(struct pager *pager)
{
	const struct index_header *header = index_header(pager->index);
	int rc = store_open(&pager->tiers.store, pager->tiers.store_fd, header->session.store.limit,
			    header->session.store.codec);

	if (rc == 0)
		rc = pool_open(pager, header->session.store.codec);
	if (rc == 0)
		tiers_seal(pager);
	for (uint64_t i = 1; rc == 0 && i < header->clusters; i++) {
		const struct cluster *cluster = index_cluster(pager->index, (uint32_t)i);
		struct store_slot slot;

		if (cluster->state == CLUSTER_STORED && cluster->slot.length)
			rc = store_adopt(tier_of(pager, (uint32_t)i, &slot), &slot);
	}
	tier_expect_dense(pager, 1);
	return rc;
}

static int note_page(void *context, uint64_t address, index_entry entry)
{
	(void)entry;
	return region_vec_insert(context, region_at(address, page_size()));
}

/* What may be registered in children: what their parent has mapped, and wherever something of theirs is out. */
static int find_in_children(struct pager *pager, const struct region_vec *mappings)
{
	int rc = 0;

	for (unsigned int i = 1; rc == 0 && i < INDEX_SPACES; i++) {
		struct region_vec *registered = &pager->spaces[i].registered;

		if (!pager->spaces[i].used)
			continue;
		for (size_t k = 0; rc == 0 && k < mappings->count; k++)
			rc = region_vec_insert(registered, mappings->items[k]);
		if (rc == 0)
			rc = index_walk(pager->index, i, (struct region){0, UINT64_MAX}, note_page, registered);
	}
	return rc;
}

/* The mappings of the target in which something is out are those that are registered. */
static int find_registered(struct pager *pager, struct region_vec *mappings)
{
	struct maps_reader reader;
	struct mapping mapping;
	int rc = maps_open(&reader, &pager->target);

	if (rc < 0)
		return rc == -ESRCH ? 0 : rc;
	while ((rc = maps_next(&reader, &mapping)) > 0) {
		if (mapping.kind != MAPPING_ANON || mapping.shared)
			continue;
		rc = region_vec_insert(mappings, mapping.region);
		if (rc == 0 && index_any(pager->index, 0, mapping.region))
			rc = region_vec_push(&pager->spaces[0].registered, mapping.region);
		if (rc < 0)
			break;
	}
	maps_close(&reader);
	return rc == -ESRCH ? 0 : rc;
}

/* What the dead worker had read and not noted, but for forks: first those that were noted are found. */
static void apply_pending(struct pager *pager)
{
	for (unsigned int i = 0; i < index_header(pager->index)->spaces_there; i++) {
		struct index_pending *pending = &index_header(pager->index)->spaces[i].pending;
		unsigned int event = pending->message.event;
		bool changes = event == UFFD_EVENT_REMAP || event == UFFD_EVENT_REMOVE || event == UFFD_EVENT_UNMAP;

		if (!event || event == UFFD_EVENT_FORK)
			continue;
		if (i == 0 && changes && index_header(pager->index)->session.events.fork_awaited)
			event_put_aside(pager);
		if (changes && pending->message.event) {
			space_make(pager, i);
			event_apply(pager, &pager->spaces[i], pending);
		}
		pending->message.event = 0;
	}
	region_vec_free(&pager->spaces[0].registered); /* found anew */
}

static bool is_known_space(const struct index_header *header, uint64_t number)
{
	for (unsigned int i = 1; i < header->spaces_there; i++)
		if (header->spaces[i].used && header->spaces[i].stored_as == number)
			return true;
	return false;
}

static void find_forked(struct pager *pager, const struct fdstore_item *item)
{
	_cleanup_regions_ struct region_vec unforked = {0};
	struct fork_event fork = {.uffd = item->fd, .stored_as = item->number, .saved = true};
	struct space *parent = &pager->spaces[item->parent];

	event_find_unforked(pager, parent, &unforked, &fork);
	event_fork(pager, parent, &fork);
}

/* The supervisor has it: only another one would have to be told. */
static void hold_again(struct pager *pager, const struct fdstore_item *item)
{
	struct fdstore_message message = {.parent = item->parent, .number = item->number};

	fdstore_add(&pager->supervision.held, &message, item->fd);
}

/* Before any event is dealt with: that takes it back. */
static int find_left_to_kernel(struct pager *pager)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < index_header(pager->index)->spaces_there; i++) {
		struct region left = index_header(pager->index)->spaces[i].left_to_kernel;

		if (left.end)
			rc = region_vec_insert(&pager->spaces[i].left_to_kernel, left);
	}
	return rc;
}

/* Children: those that are in the index, and those whose descriptor was saved before their pages were noted. */
static void find_spaces(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);

	for (unsigned int i = 1; i < header->spaces_there; i++) {
		const struct fdstore_item *item =
			header->spaces[i].used ? fdstore_find(pager->supervision.inherited, header->spaces[i].stored_as)
					       : NULL;
		struct space *space = &pager->spaces[i];

		if (!item && (header->spaces[i].used || index_count(pager->index, i))) {
			header->spaces[i].used = false;
			space_make(pager, i);
			space_drop(pager, space, (struct region){0, UINT64_MAX});
		}
		if (!item)
			continue;
		space_make(pager, i);
		space->uffd = item->fd;
		space->stored_as = item->number;
		space->used = true;
		space->check_soon = true;
		space->unchecked = true;
		atomic_fetch_add(&pager->children.count, 1);
	}
	for (size_t i = 0; i < pager->supervision.inherited->count; i++) {
		const struct fdstore_item *item = &pager->supervision.inherited->items[i];

		pager->supervision.number = max_u64(pager->supervision.number, item->number);
		if (item->parent >= INDEX_SPACES)
			hold_again(pager, item);
		else if (!is_known_space(header, item->number))
			find_forked(pager, item);
	}
}

static void finish_fork(struct pager *pager, struct space *parent, struct index_pending *pending)
{
	int uffd = -1;

	if (parent->used && !fdstore_find(pager->supervision.inherited, pending->stored_as))
		uffd = keeper_take(pager, (int)pending->message.arg.fork.ufd);
	if (uffd >= 0) {
		pending->message.arg.fork.ufd = (uint32_t)uffd;
		event_apply(pager, parent, pending);
	}
	pending->message.event = 0;
}

/* Forks that were read, but whose descriptors are not with the supervisor yet. */
static void finish_forks(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);

	for (unsigned int i = 0; i < header->spaces_there; i++)
		if (header->spaces[i].pending.message.event == UFFD_EVENT_FORK)
			finish_fork(pager, &pager->spaces[i], &header->spaces[i].pending);
	for (unsigned int i = 0; i < PASSED_MAX; i++)
		if (header->session.events.passed[i].message.event == UFFD_EVENT_FORK)
			finish_fork(pager, &pager->spaces[0], &header->session.events.passed[i]);
	keeper_end(pager);
}

static void ignore_fault(struct pager *pager, const struct uffd_msg *message)
{
	(void)pager;
	(void)message; /* it faults again */
}

/* What was put aside for forks comes after them, whether they have been read or not. */
static void finish_passed(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	struct index_pending *pending = &header->spaces[0].pending;

	if (header->session.events.fork_awaited && !pager->spaces[0].dead)
		event_read_fork(pager, ignore_fault);
	if (pending->message.event)
		event_apply(pager, &pager->spaces[0], pending);
	pending->message.event = 0;
	header->session.events.fork_awaited = false;
	header->session.events.unforked_known = false;
	event_apply_passed(pager);
	region_vec_free(&pager->spaces[0].registered); /* found anew */
}

/* A page that has never left, or was nowhere, needs nothing to be as it was. */
static void never_left(struct pager *pager, uint32_t number, unsigned int i)
{
	struct cluster *cluster = index_cluster(pager->index, number);
	uint64_t at = cluster->source + i * page_size();

	cluster->holes |= UINT64_C(1) << i;
	if (index_get(pager->index, 0, at) == entry_make(number, i)) {
		index_set(pager->index, 0, at, ENTRY_NONE);
		cluster->refs--;
	}
}

/*
 * The place of a cluster in the staging area is the program's now. What was on its way, and is still where it came
 * from, has never left; the rest is lost.
 */
static void lose_cluster(struct pager *pager, uint32_t number)
{
	struct cluster *cluster = index_cluster(pager->index, number);
	uint64_t entry;

	for (unsigned int i = 0; i < cluster->pages; i++) {
		if (cluster->state == CLUSTER_MOVING &&
		    pagemap_read(pager->view.pagemap_fd, cluster->source + i * page_size(), 1, &entry) == 0 &&
		    pagemap_populated(entry))
			never_left(pager, number, i);
	}
	cluster_lose(cluster);
}

/*
 * Pages of a cluster that was on its way: those in the staging area are read; those that are not there have never left.
 */
static int read_cluster(struct pager *pager, uint32_t number)
{
	struct cluster *cluster = index_cluster(pager->index, number);
	uint64_t offset = cluster->staging - pager->staging.region.start;
	uint64_t entries[CLUSTER_PAGES_MAX];
	uint64_t unreadable = 0;
	size_t page = page_size();
	struct region there = {cluster->staging, cluster->staging + cluster->pages * page};
	int rc;

	if (!region_contains(pager->staging.region, there))
		return -EBADMSG;
	rc = pagemap_read(pager->view.pagemap_fd, there.start, cluster->pages, entries);
	for (unsigned int i = 0; rc == 0 && i < cluster->pages; i++) {
		struct iovec to = {pager->staging.mirror + offset + i * page, page};
		struct iovec from = {(void *)(there.start + i * page), page};

		if (pagemap_populated(entries[i]) &&
		    pager->access.ops->area.read(&pager->access, &to, &from, 1) != (ssize_t)page)
			unreadable |= UINT64_C(1) << i;
	}
	if (rc < 0)
		return rc;
	if (!staging_holds(pager, there)) {
		lose_cluster(pager, number);
		return 0;
	}
	for (unsigned int i = 0; i < cluster->pages; i++)
		if (!pagemap_populated(entries[i]))
			never_left(pager, number, i);
	cluster->lost |= unreadable;
	cluster->state = CLUSTER_STAGED;
	return 0;
}

/* With the target went what was in its staging area. Children that have it out get SIGBUS, not zeros. */
static int read_staged(struct pager *pager)
{
	int rc = staging_recover(pager);

	for (uint64_t i = 1; i < index_header(pager->index)->clusters; i++) {
		struct cluster *cluster = index_cluster(pager->index, (uint32_t)i);

		if (cluster->state != CLUSTER_MOVING && cluster->state != CLUSTER_STAGED)
			continue;
		if (rc == 0)
			rc = read_cluster(pager, (uint32_t)i);
		if (rc == -ESRCH)
			cluster_lose(cluster);
		else if (rc < 0)
			return rc;
	}
	return 0;
}

/*
 * A page that was being brought when the worker died, and is there, has been brought. Of children this cannot be seen;
 * theirs are found there when they are brought again.
 */
static int resolve_filling(void *context, uint64_t address, index_entry entry)
{
	struct pager *pager = context;
	uint64_t pagemap;

	if (entry & ENTRY_FILLING && pagemap_read(pager->view.pagemap_fd, address, 1, &pagemap) == 0 &&
	    pagemap_populated(pagemap))
		index_set(pager->index, 0, address, ENTRY_NONE);
	return 0;
}

/* What was begun in the target is finished before anything is looked at. */
static int resume_access(struct pager *pager)
{
	const struct session_record *session = &index_header(pager->index)->session;

	pager->access.control = session->target.control;
	pager->access.record = session->target.puppet;
	return pager->access.ops->life.resume(&pager->access, session->counters.workers);
}

int recover_state(struct pager *pager, int index_fd)
{
	_cleanup_regions_ struct region_vec mappings = {0};
	int rc = index_open(&pager->index, index_fd);

	if (rc < 0)
		return rc;
	pager->spaces[0].dead = !uffd_alive(pager->spaces[0].uffd);
	if (!pager->spaces[0].dead) {
		rc = resume_access(pager);
		if (rc == -EBUSY)
			return rc;
		index_walk(pager->index, 0, (struct region){0, UINT64_MAX}, resolve_filling, pager);
	}
	index_recover(pager->index);
	failpoint("recovering");
	keeper_quiesce(pager);
	pager->access.number = index_header(pager->index)->session.target.uffd_number;
	rc = open_store(pager);
	if (rc == 0)
		rc = find_left_to_kernel(pager);
	if (rc < 0)
		return rc;
	event_find_passed_fork(pager);
	apply_pending(pager);
	find_spaces(pager);
	finish_forks(pager);
	finish_passed(pager);
	if (pager->spaces[0].dead)
		space_drop(pager, &pager->spaces[0], (struct region){0, UINT64_MAX});
	else
		rc = find_registered(pager, &mappings);
	if (rc == 0)
		rc = find_in_children(pager, &mappings);
	return rc < 0 ? rc : read_staged(pager);
}

/*
 * What the dead worker had left to the kernel is taken back. Messages that it had read are not delivered again: those
 * who wait fault once more.
 */
static void go_on(struct pager *pager, struct space *space)
{
	pthread_rwlock_wrlock(&space->events);
	if (space->used && !space->dead) {
		space_take_back(pager, space);
		uffd_wake_all(space->uffd);
	}
	pthread_rwlock_unlock(&space->events);
}

void recover_pages(struct pager *pager)
{
	struct filler filler;

	failpoint("started");
	for (unsigned int i = 0; i < pager->children.places; i++)
		go_on(pager, &pager->spaces[i]);
	failpoint("awake");
	while (filler_init(&filler, pager) < 0) /* the next swap-out would write over what is staged */
		usleep(MEMORY_AGAIN_US);
	for (uint64_t i = 1; i < index_header(pager->index)->clusters; i++)
		if (index_cluster(pager->index, (uint32_t)i)->state == CLUSTER_STAGED)
			fill_cluster(&filler, (uint32_t)i);
	failpoint("recovered");
	filler_free(&filler);
	mirror_give_back(pager);
	if (!index_header(pager->index)->session.leaving)
		staging_close(pager);
	failpoint("closed");
	pager->spaces[0].strays = !pager->spaces[0].dead && !space_unregister_all(pager);
	target_fds_find_lost(pager);
}

/* Whether a mapping is there, and just as we made it; the program may have put something else in its place. */
static bool still_ours(const struct pager *pager, struct region region, bool writable)
{
	struct mapping mapping;

	return mapping_at(pager->view.maps_fd, region.start, &mapping) > 0 && mapping.region.start == region.start &&
	       mapping.kind == MAPPING_ANON && mapping.write == writable && !mapping.shared;
}

bool recover_leave(struct pager *pager)
{
	const struct index_header *header = index_header(pager->index);
	struct access *access = &pager->access;
	struct error ignored = {0};

	if (!header->session.leaving)
		return false;
	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		if (pager->spaces[i].used && !pager->spaces[i].dead && index_count(pager->index, i))
			return false; /* something left since */
	if (pager->spaces[0].dead || !still_ours(pager, header->session.target.control, true))
		return true;
	if (staging_leave(pager, &ignored) < 0)
		return true;
	if (access->ops->calls.begin(access, &ignored) < 0)
		return true;
	access->ops->fds.drop(access, access->number, pager->spaces[0].uffd);
	access->number = -1;
	access->ops->calls.end(access);
	access->ops->life.leave(access, &ignored);
	return true;
}
