/* SPDX-License-Identifier: MIT */
/* What the target did to its address space, in the order it did it. */
#include "pager/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "index/index.h"
#include "pager/cluster.h"
#include "pager/discards.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "proc/maps.h"
#include "service/failpoint.h"
#include "service/fdstore.h"

#define ABSENT_RUN (2 * MiB)
#define FORKS_MAX  FAULT_THREADS_MAX /* read in one go: there is room for them when there is for one (room.c) */

/* Entries on their way from one place to another. */
struct moving {
	struct pager *pager;
	struct space *from, *to;
	uint64_t distance; /* added to each address, modulo 2^64 */
	bool keep;         /* the old entry stays (fork) */
	struct {
		uint64_t address;
		index_entry entry;
	} * items;
	size_t count, size;
};

static int note_entry(void *context, uint64_t address, index_entry entry)
{
	struct moving *m = context;

	/*
	 * The event is read and its thread goes on: an entry left behind would be a page of zeros. Better late than
	 * that.
	 */
	while (array_reserve(&m->items, m->count, &m->size) < 0)
		usleep(BACK_OFF_US);
	m->items[m->count].address = address;
	m->items[m->count++].entry = entry & ~ENTRY_FILLING; /* the thread that was filling it finds it gone */
	return 0;
}

/* Without an entry the page would read as zeros: SIGBUS is the lesser evil. */
static void poison_page(struct pager *pager, struct space *space, uint64_t address)
{
	size_t done;

	uffd_poison(space->uffd, address, page_size(), &done);
	index_header(pager->index)->session.counters.poisoned_pages++;
}

/* The new entry before the old one goes: a worker that dies in between leaves one too many, never one too few. */
static void put_entries(struct moving *m)
{
	for (size_t i = 0; i < m->count; i++) {
		index_entry entry = m->items[i].entry;
		uint64_t to = m->items[i].address + m->distance;
		int rc = index_set(m->pager->index, m->to->id, to, entry);

		failpoint(m->keep ? "forking" : "remapping");
		if (rc < 0)
			poison_page(m->pager, m->to, to);
		else if (m->keep)
			index_cluster(m->pager->index, entry_cluster(entry))->refs++;
		if (m->keep)
			continue;
		index_set(m->pager->index, m->from->id, m->items[i].address, ENTRY_NONE);
		if (rc < 0)
			cluster_unref(m->pager, entry_cluster(entry));
	}
	free(m->items);
}

static void apply_remap(struct pager *pager, struct space *space, struct index_pending *pending)
{
	uint64_t to = pending->message.arg.remap.to;
	struct region from = uffd_changed(&pending->message);
	struct moving m = {.pager = pager, .from = space, .to = space, .distance = to - from.start};

	if (!pending->dropped)
		space_drop(pager, space, region_at(to, region_bytes(from)));
	pending->dropped = 1;
	index_walk(pager->index, space->id, from, note_entry, &m);
	put_entries(&m);
	/* The old place stays registered with MREMAP_DONTUNMAP; otherwise its unmap event follows. */
	region_vec_insert(&space->registered, region_at(to, region_bytes(from)));
}

/* What lies together is asked for together. */
struct absence {
	struct pager *pager;
	struct space *space;
	struct region run;
};

static void drop_absent(const struct absence *a)
{
	size_t page = page_size();

	if (!region_bytes(a->run) || !uffd_absent(a->space->uffd, a->run))
		return;
	for (uint64_t at = a->run.start; at < a->run.end; at += page)
		if (uffd_absent(a->space->uffd, region_at(at, page)))
			space_drop(a->pager, a->space, region_at(at, page));
}

static int add_to_run(void *context, uint64_t address, index_entry entry)
{
	struct absence *a = context;

	(void)entry;
	if (address != a->run.end || region_bytes(a->run) == ABSENT_RUN) {
		drop_absent(a);
		a->run = (struct region){address, address};
	}
	a->run.end += page_size();
	return 0;
}

static void check_absent(struct pager *pager, struct space *space)
{
	struct absence absence = {.pager = pager, .space = space};

	if (space->dead || uffd_changing(space->uffd))
		return;
	index_walk(pager->index, space->id, (struct region){0, UINT64_MAX}, add_to_run, &absence);
	drop_absent(&absence);
	space->unchecked = uffd_changing(space->uffd); /* perhaps in the middle of it */
}

void event_check_absent(struct pager *pager, struct space *space)
{
	pthread_mutex_lock(&pager->lock);
	check_absent(pager, space);
	pthread_mutex_unlock(&pager->lock);
}

/*
 * What was out in the parent and did not come to the child (MADV_DONTFORK, MADV_WIPEONFORK): no event tells of it.
 * Nobody reads the child's events before this is done.
 */
static void drop_unforked(struct moving *m, const struct region_vec *unforked)
{
	for (size_t i = 0; unforked && i < unforked->count; i++)
		space_drop(m->pager, m->to, unforked->items[i]);
	/*
	 * Which process a parent is that is a child itself, may not be known: its own child tells what it has, but not
	 * what of that is wiped. If it changes already, it is asked again later.
	 */
	if (m->from->id != 0 && m->count) {
		m->to->unchecked = true;
		check_absent(m->pager, m->to);
	}
}

/* The first page of a region that is out. */
static int take_first(void *context, uint64_t address, index_entry entry)
{
	(void)entry;
	*(uint64_t *)context = address;
	return 1;
}

static bool first_out(struct pager *pager, const struct space *space, struct region region, uint64_t *address)
{
	return index_walk(pager->index, space->id, region, take_first, address) > 0;
}

/* Whether a child was forked after memory had moved. What stays registered at both places is told by what was there. */
static bool has_moved(struct pager *pager, const struct space *parent, const struct space *child,
		      const struct uffd_msg *message)
{
	struct region from = uffd_changed(message);
	uint64_t distance = message->arg.remap.to - from.start;
	uint64_t at;

	if (!first_out(pager, child, from, &at))
		return true;
	if (!uffd_registered(child->uffd, at))
		return true;
	return uffd_registered(child->uffd, at + distance) && !region_vec_find(&parent->registered, at + distance);
}

/*
 * Of what was put aside while the fork was awaited, the child's own mappings tell what came before it: it takes that
 * over as far as they do. A discard was under way at the same time as the fork: a child may find zeros by then.
 */
static void apply_to_child(struct pager *pager, const struct space *parent, struct space *child)
{
	const struct index_header *header = index_header(pager->index);

	for (unsigned int i = 0; i < PASSED_MAX; i++) {
		struct index_pending passed = header->session.events.passed[i];
		struct region region = uffd_changed(&passed.message);
		uint64_t at;

		switch (passed.message.event) {
		case UFFD_EVENT_REMAP:
			if (!has_moved(pager, parent, child, &passed.message))
				return;
			apply_remap(pager, child, &passed);
			break;
		case UFFD_EVENT_UNMAP:
			if (first_out(pager, child, region, &at) && uffd_registered(child->uffd, at))
				return;
			space_drop(pager, child, region);
			region_vec_remove(&child->registered, region);
			break;
		case UFFD_EVENT_REMOVE:
			space_drop(pager, child, region);
			break;
		default:
			break;
		}
	}
}

/*
 * As many as can be are being served; held open, the descriptor blocks the child instead of feeding it zeros. No later
 * worker finds a parent for it: what that has by then is not what the child has.
 */
static void hold_child(struct pager *pager, const struct fork_event *fork)
{
	struct fdstore_message message = {.parent = INDEX_SPACES, .number = fork->stored_as};

	fdstore_add(&pager->supervision.held, &message, fork->uffd);
	pager->supervision.held_unsaved = true;
	spaces_save(pager);
}

void event_fork(struct pager *pager, struct space *parent, const struct fork_event *fork)
{
	struct moving m = {.pager = pager, .from = parent, .keep = true};
	struct space *child = space_new(pager, fork->uffd);

	if (!child) {
		hold_child(pager, fork);
		return;
	}
	for (size_t i = 0; i < parent->registered.count; i++)
		region_vec_push(&child->registered, parent->registered.items[i]);
	child->stored_as = fork->stored_as;
	child->unsaved = !fork->saved;
	index_header(pager->index)->spaces[child->id].stored_as = fork->stored_as;
	m.to = child;
	index_walk(pager->index, parent->id, (struct region){0, UINT64_MAX}, note_entry, &m);
	put_entries(&m);
	if (parent->id == 0)
		apply_to_child(pager, parent, child);
	drop_unforked(&m, fork->unforked);
	child->check_soon = true;
	index_header(pager->index)->spaces[child->id].used = true;
	child->unwatched = space_watch(pager, child) < 0; /* it waits until that is tried again */
}

/* First of all its descriptor is saved: if the only copy died with us, the child would read zeros. */
static void save_fork(struct pager *pager, const struct space *parent, struct index_pending *pending,
		      struct fork_event *fork)
{
	struct fdstore_message message = {.op = FDSTORE_ADD, .parent = parent->id};

	failpoint("fork-read");
	pthread_mutex_lock(&pager->lock);
	message.number = ++pager->supervision.number;
	pending->stored_as = message.number;
	*fork = (struct fork_event){.uffd = (int)pending->message.arg.fork.ufd, .stored_as = message.number};
	fork->saved = fdstore_send(pager->supervision.socket, &message, fork->uffd) == 0;
	pthread_mutex_unlock(&pager->lock);
	failpoint("fork-saved");
}

static void note_unforked(struct pager *pager, const struct region_vec *regions)
{
	struct index_header *header = index_header(pager->index);

	pthread_mutex_lock(&pager->lock);
	header->session.events.unforked_count = 0;
	for (size_t i = 0; i < regions->count && header->session.events.unforked_count <= UNFORKED_MAX; i++) {
		if (!index_any(pager->index, 0, regions->items[i]))
			continue;
		if (index_room_for_unforked(pager->index) < 0) {
			header->session.events.unforked_count = UNFORKED_MAX + 1;
			break;
		}
		if (header->session.events.unforked_count < UNFORKED_MAX)
			header->unforked[header->session.events.unforked_count] = regions->items[i];
		header->session.events.unforked_count++;
	}
	header->session.events.unforked_known = header->session.events.unforked_count <= UNFORKED_MAX;
	pthread_mutex_unlock(&pager->lock);
}

/* It takes as long as the fork did. */
static int find_kept(struct pager *pager, struct region_vec *regions)
{
	int rc;

	while ((rc = kept_from_children(&pager->target, regions)) == -ENOMEM) {
		region_vec_free(regions);
		usleep(BACK_OFF_US);
	}
	return rc;
}

void event_inspect_fork(struct pager *pager)
{
	_cleanup_regions_ struct region_vec regions = {0};

	if (find_kept(pager, &regions) == 0)
		note_unforked(pager, &regions);
}

/*
 * What was seen before the fork was read, or what is there now: the program may have changed it since (madvise(2)), if
 * that was by a thread that had not waited.
 */
void event_find_unforked(struct pager *pager, const struct space *parent, struct region_vec *unforked,
			 struct fork_event *fork)
{
	const struct index_header *header = index_header(pager->index);

	if (parent->id != 0) {
		fork->unforked = parent->unforked_known ? &parent->unforked : NULL;
		return;
	}
	for (size_t i = 0; header->session.events.unforked_known && i < header->session.events.unforked_count; i++)
		while (region_vec_push(unforked, header->unforked[i]) < 0)
			usleep(BACK_OFF_US);
	if (!header->session.events.unforked_known && index_count(pager->index, 0))
		find_kept(pager, unforked);
	fork->unforked = unforked;
}

void event_apply(struct pager *pager, struct space *space, struct index_pending *pending)
{
	_cleanup_regions_ struct region_vec unforked = {0};
	const struct uffd_msg *message = &pending->message;
	struct record_counters *counters = &index_header(pager->index)->session.counters;
	const struct region changed = uffd_changed(message);
	struct fork_event fork;

	failpoint("event");
	if (message->event == UFFD_EVENT_FORK) {
		save_fork(pager, space, pending, &fork);
		event_find_unforked(pager, space, &unforked, &fork);
	}
	atomic_store(&space->held_up_since_ns, 0);
	pthread_mutex_lock(&pager->lock);
	switch (message->event) {
	case UFFD_EVENT_FORK:
		counters->events.forks++;
		event_fork(pager, space, &fork);
		break;
	case UFFD_EVENT_REMAP:
		counters->events.remaps++;
		apply_remap(pager, space, pending);
		break;
	case UFFD_EVENT_REMOVE:
		counters->events.removes++;
		failpoint("removing");
		if (space->id == 0)
			discard_note(pager, changed);
		if (space->id == 0 && region_overlaps(pager->staging.region, changed))
			pager->staging.torn = true;
		space_drop(pager, space, changed);
		break;
	case UFFD_EVENT_UNMAP:
		counters->events.unmaps++;
		failpoint("unmapping");
		space_drop(pager, space, changed);
		region_vec_remove(&space->registered, changed);
		break;
	default:
		break;
	}
	space->check_soon = true;
	pthread_mutex_unlock(&pager->lock);
	failpoint("applied");
}

/* In this order: a worker that finds it half pending finds it whole where it was. */
static void make_pending(struct index_header *header, struct index_pending *fork)
{
	struct index_pending *pending = &header->spaces[0].pending;

	pending->stored_as = 0;
	pending->message = fork->message;
	header->session.events.fork_awaited = false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	fork->message.event = 0;
}

/* Of changes: the arguments of a remap take as much room as those of any other. */
static bool is_same(const struct uffd_msg *a, const struct uffd_msg *b)
{
	return a->event == b->event && a->arg.remap.from == b->arg.remap.from && a->arg.remap.to == b->arg.remap.to &&
	       a->arg.remap.len == b->arg.remap.len;
}

/* Should we die in the middle of it, the next worker does it again. */
void event_put_aside(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	struct index_pending *pending = &header->spaces[0].pending;
	unsigned int passed = 0;

	while (passed < PASSED_MAX && header->session.events.passed[passed].message.event)
		passed++;
	if (passed == PASSED_MAX)
		return;
	if (!passed || !is_same(&header->session.events.passed[passed - 1].message, &pending->message)) {
		header->session.events.passed[passed].dropped = header->session.events.passed[passed].stored_as = 0;
		header->session.events.passed[passed].message = pending->message;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	pending->message.event = 0;
}

void event_read_fork(struct pager *pager, void (*fault)(struct pager *pager, const struct uffd_msg *message))
{
	struct index_header *header = index_header(pager->index);
	unsigned int passed = 0;
	unsigned int forks = 0;

	for (; passed < PASSED_MAX && header->session.events.passed[passed].message.event; passed++)
		forks += header->session.events.passed[passed].message.event == UFFD_EVENT_FORK;
	header->session.events.fork_awaited = true;
	while (header->session.events.fork_awaited && passed < PASSED_MAX && forks < FORKS_MAX) {
		struct index_pending *next = &header->session.events.passed[passed];

		next->dropped = next->stored_as = 0;
		if (uffd_read(pager->spaces[0].uffd, &next->message, 1) <= 0)
			break; /* that was all; or the process is being killed */
		failpoint("fork-passed");
		if (next->message.event == UFFD_EVENT_FORK && !passed) {
			make_pending(header, next);
		} else if (next->message.event == UFFD_EVENT_PAGEFAULT) {
			fault(pager, &next->message);
			next->message.event = 0;
		} else {
			forks += next->message.event == UFFD_EVENT_FORK;
			passed++;
		}
	}
	header->session.events.fork_awaited = false;
}

void event_find_passed_fork(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);

	if (header->session.events.passed[0].message.event == UFFD_EVENT_FORK)
		make_pending(header, &header->session.events.passed[0]);
	for (unsigned int i = 0; i < PASSED_MAX; i++)
		if (header->session.events.passed[i].message.event == UFFD_EVENT_PAGEFAULT)
			header->session.events.passed[i].message.event = 0; /* it faults again */
}

/* Those that are forks, or those that are not. */
static void apply_passed(struct pager *pager, bool forks)
{
	struct index_header *header = index_header(pager->index);

	for (unsigned int i = 0; i < PASSED_MAX; i++) {
		struct uffd_msg message = header->session.events.passed[i].message;

		if (!message.event || (message.event == UFFD_EVENT_FORK) != forks)
			continue;
		event_apply(pager, &pager->spaces[0], &header->session.events.passed[i]);
		event_wake(pager, &pager->spaces[0], &message);
		header->session.events.passed[i].message.event = 0;
	}
}

void event_apply_passed(struct pager *pager)
{
	apply_passed(pager, true);
	apply_passed(pager, false);
}

void event_forget_fork(struct pager *pager)
{
	index_header(pager->index)->session.events.fork_awaited = false;
	event_apply_passed(pager);
}

void event_wake(struct pager *pager, struct space *space, const struct uffd_msg *message)
{
	uffd_wake_changed(space->uffd, message);
	space_take_back(pager, space);
}
