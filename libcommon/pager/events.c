/* What the target did to its address space, in the order it did it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/hook.h"
#include "pager/keep.h"
#include "pager/pager.h"
#include "proc/maps.h"

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

	if (m->count == m->size) {
		size_t size = m->size ? m->size * 2 : 1024;
		void *grown;

		/* The event is read and its thread goes on: an entry left behind would be a page of zeros. Better late than that. */
		while (!(grown = realloc(m->items, size * sizeof(*m->items))))
			usleep(BACK_OFF_US);
		m->items = grown;
		m->size = size;
	}
	m->items[m->count].address = address;
	m->items[m->count++].entry = entry & ~ENTRY_FILLING; /* whoever was filling it finds it gone */
	return 0;
}

/* Without an entry the page would read as zeros: SIGBUS is the lesser evil. */
static void poison(struct pager *pager, struct space *space, uint64_t address)
{
	size_t done;

	uffd_poison(space->uffd, address, page_size(), &done);
	index_header(pager->index)->counters.poisoned_pages++;
}

/* The new entry before the old one goes: a worker that dies in between leaves one too many, never one too few. */
static void put_entries(struct moving *m)
{
	for (size_t i = 0; i < m->count; i++) {
		index_entry entry = m->items[i].entry;
		uint64_t to = m->items[i].address + m->distance;
		int rc = index_set(m->pager->index, m->to->id, to, entry);

		hook(m->keep ? "forking" : "remapping");
		if (rc < 0)
			poison(m->pager, m->to, to);
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
	struct region from = {pending->message.arg.remap.from,
			      pending->message.arg.remap.from + pending->message.arg.remap.len};
	struct moving m = {.pager = pager, .from = space, .to = space, .distance = to - from.start};

	if (!pending->dropped)
		space_drop(pager, space, (struct region){to, to + region_bytes(from)});
	pending->dropped = 1;
	index_walk(pager->index, space->id, from, note_entry, &m);
	put_entries(&m);
	/* The old place stays registered with MREMAP_DONTUNMAP; otherwise its unmap event follows. */
	region_vec_insert(&space->registered, (struct region){to, to + region_bytes(from)});
}

static int drop_absent(void *context, uint64_t address, index_entry entry)
{
	struct moving *m = context;

	if (!uffd_absent(m->to->uffd, address))
		return 0;
	index_set(m->pager->index, m->to->id, address, ENTRY_NONE);
	cluster_unref(m->pager, entry_cluster(entry));
	return 0;
}

/* What was out in the parent and did not come to the child (MADV_DONTFORK, MADV_WIPEONFORK): no event tells of it. Nobody reads the child's events before this is done. */
static void drop_unforked(struct moving *m, const struct region_vec *unforked)
{
	for (size_t i = 0; unforked && i < unforked->count; i++)
		space_drop(m->pager, m->to, unforked->items[i]);
	/* Which process a parent is that is a child itself, is not known: its own child tells what it has, but not what of that is wiped. */
	if (!unforked && m->count)
		index_walk(m->pager->index, m->to->id, (struct region){0, UINT64_MAX}, drop_absent, m);
}

void event_fork(struct pager *pager, struct space *parent, const struct fork_event *fork)
{
	struct moving m = {.pager = pager, .from = parent, .keep = true};
	struct space *child = space_new(pager, fork->uffd);

	if (!child)
		return; /* as many as can be are being served; held open, the descriptor blocks the child instead of feeding it zeros */
	for (size_t i = 0; i < parent->registered.count; i++)
		region_vec_push(&child->registered, parent->registered.items[i]);
	child->kept = fork->kept;
	child->unsaved = !fork->saved;
	index_header(pager->index)->spaces[child->id].kept = fork->kept;
	m.to = child;
	index_walk(pager->index, parent->id, (struct region){0, UINT64_MAX}, note_entry, &m);
	put_entries(&m);
	drop_unforked(&m, fork->unforked);
	child->check_soon = true;
	index_header(pager->index)->spaces[child->id].used = true;
	fault_watch(pager, child); /* should that fail it waits, as if there was no place for it */
}

/* First of all its descriptor is saved: if the only copy died with us, the child would read zeros. */
static void save_fork(struct pager *pager, const struct space *parent, struct index_pending *pending,
		      struct fork_event *fork)
{
	struct keep_message message = {.op = KEEP_DESCRIPTOR, .parent = parent->id};

	hook("fork-read");
	pthread_mutex_lock(&pager->lock);
	message.number = ++pager->kept;
	pending->kept = message.number;
	*fork = (struct fork_event){.uffd = (int)pending->message.arg.fork.ufd, .kept = message.number};
	fork->saved = keep_send(pager->supervisor, &message, fork->uffd) == 0;
	pthread_mutex_unlock(&pager->lock);
	hook("fork-saved");
}

/* Looked for only when something is out: it takes as long as the fork. */
void event_find_unforked(struct pager *pager, const struct space *parent, struct region_vec *unforked,
			 struct fork_event *fork)
{
	if (parent->id != 0)
		return;
	if (index_count(pager->index, 0))
		kept_from_children(&pager->target, unforked);
	fork->unforked = unforked;
}

void event_apply(struct pager *pager, struct space *space, struct index_pending *pending)
{
	_cleanup_regions_ struct region_vec unforked = {0};
	const struct uffd_msg *message = &pending->message;
	struct index_counters *counters = &index_header(pager->index)->counters;
	struct fork_event fork;

	hook("event");
	if (message->event == UFFD_EVENT_FORK) {
		save_fork(pager, space, pending, &fork);
		event_find_unforked(pager, space, &unforked, &fork);
	}
	atomic_store(&space->held_up_since_ns, 0);
	pthread_mutex_lock(&pager->lock);
	switch (message->event) {
	case UFFD_EVENT_FORK:
		counters->forks++;
		event_fork(pager, space, &fork);
		break;
	case UFFD_EVENT_REMAP:
		counters->remaps++;
		apply_remap(pager, space, pending);
		break;
	case UFFD_EVENT_REMOVE:
		counters->removes++;
		hook("removing");
		space_drop(pager, space, (struct region){message->arg.remove.start, message->arg.remove.end});
		break;
	case UFFD_EVENT_UNMAP:
		counters->unmaps++;
		hook("unmapping");
		space_drop(pager, space, (struct region){message->arg.remove.start, message->arg.remove.end});
		region_vec_remove(&space->registered,
				  (struct region){message->arg.remove.start, message->arg.remove.end});
		break;
	default:
		break;
	}
	space->check_soon = true;
	pthread_mutex_unlock(&pager->lock);
	hook("applied");
}

void event_wake(struct space *space, const struct uffd_msg *message)
{
	struct region changed = {0, 0};

	if (message->event == UFFD_EVENT_REMAP)
		changed = (struct region){message->arg.remap.from, message->arg.remap.from + message->arg.remap.len};
	if (message->event == UFFD_EVENT_REMOVE || message->event == UFFD_EVENT_UNMAP)
		changed = (struct region){message->arg.remove.start, message->arg.remove.end};
	if (changed.end)
		uffd_wake(space->uffd, changed);
	/* Registered again, they are one mapping with their neighbours: mremap(2) of it would fail otherwise. */
	if (space->left_to_kernel.end) {
		uffd_register_missing(space->uffd, space->left_to_kernel);
		space->strays = true; /* what lay between two such pages is registered too */
	}
	space->left_to_kernel = (struct region){0, 0};
}
