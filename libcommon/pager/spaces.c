/* SPDX-License-Identifier: MIT */
/* Address spaces that are served, and which of their mappings are registered. */
#include "pager/spaces.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "index/index.h"
#include "pager/cluster.h"
#include "pager/pager.h"
#include "pager/target_fds.h"
#include "proc/maps.h"
#include "service/failpoint.h"
#include "service/fdstore.h"

#define ROOM_STEPS 8
#define LOCK_TRIES 1000

void space_make(struct pager *pager, unsigned int id)
{
	pthread_rwlockattr_t writers_first;

	pthread_rwlockattr_init(&writers_first);
	pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (; pager->children.places <= id; pager->children.places++) {
		struct space *space = &pager->spaces[pager->children.places];

		space->id = pager->children.places;
		pthread_rwlock_init(&space->events, &writers_first);
	}
	pthread_rwlockattr_destroy(&writers_first);
}

void space_lock_shared(struct space *space)
{
	for (unsigned int i = 0; i < LOCK_TRIES; i++)
		if (pthread_rwlock_tryrdlock(&space->events) == 0)
			return;
	pthread_rwlock_rdlock(&space->events);
}

void space_lock_exclusive(struct space *space)
{
	for (unsigned int i = 0; i < LOCK_TRIES; i++)
		if (pthread_rwlock_trywrlock(&space->events) == 0)
			return;
	pthread_rwlock_wrlock(&space->events);
}

struct space *space_new(struct pager *pager, int uffd)
{
	const unsigned int places = failpoint_number("UVM_PLACES", INDEX_SPACES);

	for (unsigned int i = 0; i < places; i++) {
		struct space *space = &pager->spaces[i];

		if (space->used)
			continue;
		if (index_room_for_space(pager->index, i) < 0)
			break;
		/*
		 * `used` falls only under `events` and `lock`. Who found something about the one that was here before
		 * looks again under them.
		 */
		space_make(pager, i);
		space->uffd = uffd;
		space->used = true;
		space->dead = false;
		space->check_soon = false;
		space->unsaved = false;
		space->unwatched = false;
		space->strays = false;
		space->unchecked = false;
		space->pid = 0;
		space->unforked_known = false;
		region_vec_free(&space->left_to_kernel);
		index_header(pager->index)->spaces[i].left_to_kernel = (struct region){0, 0};
		space->held_up_since_ns = 0;
		space->since_us = now_us();
		space->room_again_us = 0;
		atomic_fetch_add(&pager->children.count, 1);
		return space;
	}
	return NULL;
}

static void drop_ended(struct pager *pager)
{
	struct fdstore *held = &pager->supervision.held;

	for (size_t i = 0; i < held->count;) {
		struct fdstore_message message = {.op = FDSTORE_DROP, .number = held->items[i].number};

		if (uffd_alive(held->items[i].fd)) {
			i++;
			continue;
		}
		fdstore_send(pager->supervision.socket, &message, -1);
		fdstore_drop(held, message.number);
	}
}

static void save_held(struct pager *pager)
{
	const struct fdstore *held = &pager->supervision.held;

	pager->supervision.held_unsaved = false;
	for (size_t i = 0; i < held->count; i++) {
		struct fdstore_message message = {
			.op = FDSTORE_ADD, .parent = held->items[i].parent, .number = held->items[i].number};

		pager->supervision.held_unsaved |=
			fdstore_send(pager->supervision.socket, &message, held->items[i].fd) < 0;
	}
}

void spaces_save(struct pager *pager)
{
	drop_ended(pager);
	if (pager->supervision.held_unsaved)
		save_held(pager);
	for (unsigned int i = 1; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];
		struct fdstore_message message = {.op = FDSTORE_ADD, .number = space->stored_as};

		if (space->used && !space->dead && space->stored_as && space->unsaved)
			space->unsaved = fdstore_send(pager->supervision.socket, &message, space->uffd) < 0;
	}
}

static int drop_entry(void *context, uint64_t address, index_entry entry)
{
	struct space *space = ((void **)context)[0];
	struct pager *pager = ((void **)context)[1];

	index_set(pager->index, space->id, address, ENTRY_NONE);
	cluster_unref(pager, entry_cluster(entry));
	return 0;
}

void space_drop(struct pager *pager, struct space *space, struct region region)
{
	index_walk(pager->index, space->id, region, drop_entry, (void *[]){space, pager});
}

static void unwatch_space(struct pager *pager, struct space *space)
{
	for (unsigned int i = 0; i < pager->faults.count; i++)
		epoll_ctl(pager->faults.epoll[i], EPOLL_CTL_DEL, space->uffd, NULL);
}

/* `events` is held exclusively. */
static void close_space(struct pager *pager, struct space *space)
{
	pthread_mutex_lock(&pager->lock);
	if (space->used && !space->dead) {
		space->dead = true;
		space_drop(pager, space, (struct region){0, UINT64_MAX});
		unwatch_space(pager, space);
		cleanup_close(&space->uffd);
		if (space->stored_as)
			fdstore_send(pager->supervision.socket,
				     &(struct fdstore_message){.op = FDSTORE_DROP, .number = space->stored_as}, -1);
		space->stored_as = 0;
		index_header(pager->index)->spaces[space->id].used = false;
		target_fds_forget(pager, space->id);
		region_vec_free(&space->registered);
		region_vec_free(&space->unforked);
		if (space->id != 0)
			atomic_fetch_sub(&pager->children.count, 1);
		space->used = space->id == 0; /* the target's own place is not given to a child */
	}
	pthread_mutex_unlock(&pager->lock);
}

int space_watch(struct pager *pager, struct space *space)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u32 = space->id};

	for (unsigned int i = 0; i < atomic_load(&pager->faults.joined.count); i++)
		if (epoll_ctl(pager->faults.epoll[i], EPOLL_CTL_ADD, space->uffd, &event) < 0 && errno != EEXIST)
			return -errno;
	return 0;
}

void space_close(struct pager *pager, struct space *space)
{
	pthread_rwlock_wrlock(&space->events);
	close_space(pager, space);
	pthread_rwlock_unlock(&space->events);
}

static bool is_alive(const struct space *space)
{
	return space->used && !space->dead && uffd_alive(space->uffd);
}

bool space_check(struct pager *pager, struct space *space)
{
	bool alive;

	pthread_rwlock_rdlock(&space->events);
	alive = is_alive(space);
	pthread_rwlock_unlock(&space->events);
	if (alive)
		return true;
	failpoint("gone");
	pthread_rwlock_wrlock(&space->events);
	alive = is_alive(space); /* its place may be another one's by now */
	if (!alive)
		close_space(pager, space);
	pthread_rwlock_unlock(&space->events);
	return alive;
}

bool space_registered(const struct space *space, struct region region)
{
	const struct region *found = region_vec_find(&space->registered, region.start);

	return found && region_contains(*found, region);
}

static bool is_movable(const struct mapping *mapping)
{
	return mapping->kind == MAPPING_ANON && mapping->write && !mapping->shared;
}

/*
 * Up to where a mapping may grow in place, of which no event tells. Half registered it would be two mappings, and
 * mremap(2) of it would fail: it is registered, or not, together with the room behind it. The stack grows into the same
 * room from the other side, and is not swapped.
 */
static uint64_t room_end(const struct mapping *mapping, const struct mapping *next)
{
	return mapping_is_kernels(next) || strcmp(next->name, "[stack]") == 0 ? mapping->region.end
									      : next->region.start;
}

static uint64_t room_end_now(const struct pager *pager, const struct mapping *mapping)
{
	struct mapping next;

	return mapping_at_or_after(pager->view.maps_fd, mapping->region.end, &next) > 0 ? room_end(mapping, &next)
											: mapping->region.end;
}

int space_register(struct pager *pager, struct space *space, uint64_t address)
{
	struct mapping before;
	struct mapping after;
	uint64_t limit;
	int rc = mapping_at(pager->view.maps_fd, address, &before);

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	if (!is_movable(&before))
		return -EINVAL;
	limit = room_end_now(pager, &before);
	failpoint("registering");
	rc = uffd_register_missing(space->uffd, (struct region){before.region.start, limit});
	if (rc < 0) /* something else has come to lie in its room */
		rc = uffd_register_missing(space->uffd, before.region);
	if (rc < 0)
		return rc == -ENOMEM ? -ENOENT : rc == -EBUSY ? -EINVAL : rc;
	/*
	 * Registered, it can no longer change without an event. Had it changed before that, it would show now; had it
	 * changed since, the unread event makes the move fail. It stays registered then: a part of it may have been
	 * before, with pages out.
	 */
	rc = mapping_at(pager->view.maps_fd, address, &after);
	if (rc <= 0 || !is_movable(&after) || after.region.start != before.region.start ||
	    after.region.end != before.region.end) {
		space->strays = true;
		return -EAGAIN;
	}
	if (room_end_now(pager, &after) != limit)
		space->strays = true;
	pthread_mutex_lock(&pager->lock);
	rc = region_vec_insert(&space->registered, before.region);
	pthread_mutex_unlock(&pager->lock);
	return rc;
}

static bool register_listed(struct pager *pager, struct space *space, struct region region)
{
	bool taken = uffd_register_missing(space->uffd, region) == 0;

	pthread_mutex_lock(&pager->lock);
	if (taken)
		region_vec_insert(&space->registered, region);
	pthread_mutex_unlock(&pager->lock);
	return taken;
}

/* Page by page where the kernel does not take it as a whole: it may be several mappings by now. */
static void register_again(struct pager *pager, struct space *space, struct region region)
{
	if (register_listed(pager, space, region))
		return;
	for (uint64_t at = region.start; at < region.end; at += page_size())
		register_listed(pager, space, region_at(at, page_size()));
}

/* They are one mapping with their neighbours then: mremap(2) of it would fail otherwise. */
void space_take_back(struct pager *pager, struct space *space)
{
	struct region_vec left;

	pthread_mutex_lock(&pager->lock);
	left = space->left_to_kernel;
	space->left_to_kernel = (struct region_vec){0};
	pthread_mutex_unlock(&pager->lock);
	for (size_t i = 0; i < left.count; i++)
		register_again(pager, space, left.items[i]);
	if (left.count && space->id == 0)
		space->strays = true; /* something else may lie there by now */
	region_vec_free(&left);
	index_header(pager->index)->spaces[space->id].left_to_kernel = (struct region){0, 0};
}

/*
 * Unregisters a region of the target unless it is registered with another descriptor, with the room that its last
 * mapping may grow into, up to `limit`. `events` is held exclusively, but there may be unread ones: something that is
 * out may have moved here. The thread that moved it waits for its event to be read and does not touch it before, so it
 * is in time to take it back then.
 *
 * Returns 0, -EAGAIN when it has to be tried again, after the events, or another -errno: not as a whole.
 */
static int unregister_region(struct pager *pager, struct region region, uint64_t limit)
{
	struct space *space = &pager->spaces[0];
	struct region most = {region.start, limit};
	int rc = uffd_changing(space->uffd) ? -EAGAIN : 0;

	if (rc == 0 && !index_header(pager->index)->session.unregister_checked)
		rc = uffd_register_missing(space->uffd, region);
	if (rc < 0)
		return rc;
	rc = uffd_unregister(space->uffd, most);
	if (rc < 0) /* something else lies there by now */
		rc = uffd_unregister(space->uffd, region);
	if (!uffd_changing(space->uffd))
		return rc;
	if (uffd_register_missing(space->uffd, most) < 0)
		register_again(pager, space, region);
	space->strays = true;
	return -EAGAIN;
}

/* Returns false when it has to be tried again. */
static bool unregister_empty(struct pager *pager, struct region region, uint64_t limit)
{
	struct space *space = &pager->spaces[0];
	bool done = true;
	bool keep;
	bool listed;

	pthread_rwlock_wrlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	keep = index_any(pager->index, space->id, region);
	listed = space_registered(space, region);
	pthread_mutex_unlock(&pager->lock);
	if (!space->dead && !keep) {
		done = unregister_region(pager, region, limit) != -EAGAIN;
		pthread_mutex_lock(&pager->lock);
		if (done)
			region_vec_remove(&space->registered, region);
		pthread_mutex_unlock(&pager->lock);
	} else if (!space->dead && !listed) {
		space_register(pager, space, region.start); /* it has grown */
	}
	pthread_rwlock_unlock(&space->events);
	return done;
}

/*
 * Mappings may have grown, been split or gone since they were registered: what is there now in the listed regions is
 * unregistered, mapping by mapping, in one walk, so far as nothing is out in it. Returns false when some have to be
 * tried again.
 */
static bool unregister_listed(struct pager *pager, const struct region_vec *list)
{
	struct maps_reader reader;
	struct mapping mapping, next;
	size_t at = 0;
	bool all = true;
	bool more;

	if (maps_open(&reader, &pager->target) < 0)
		return true;
	for (more = maps_next(&reader, &mapping) > 0; more && at < list->count; mapping = next) {
		uint64_t limit;

		more = maps_next(&reader, &next) > 0;
		limit = more ? room_end(&mapping, &next) : mapping.region.end;
		while (at < list->count && list->items[at].end <= mapping.region.start)
			at++;
		if (at < list->count && mapping.kind == MAPPING_ANON && !mapping.shared &&
		    region_overlaps(list->items[at], mapping.region) &&
		    (pager->staging.gone || !region_overlaps(pager->staging.region, mapping.region)))
			all &= unregister_empty(pager, mapping.region, limit);
	}
	maps_close(&reader);
	return all;
}

/* As long as it is registered, from there on. */
static uint64_t registered_end(const struct space *space, uint64_t at)
{
	while (uffd_registered(space->uffd, at))
		at += page_size();
	return at;
}

/* Where the next mapping of the target begins: where that of a child did when it was forked. */
static uint64_t next_of_target(const struct pager *pager, uint64_t at)
{
	struct mapping next;
	int rc = mapping_at_or_after(pager->view.maps_fd, at, &next);

	if (rc > 0 && next.region.start < at)
		rc = mapping_at_or_after(pager->view.maps_fd, next.region.end, &next);
	return rc > 0 ? next.region.start : ADDRESSES_END;
}

/*
 * A mapping of a child, of which a part is known, with what it has grown by, and with the room it may grow into at this
 * moment. Where the next one begins is not known, but what cannot be registered is refused: from `limit` down to where
 * it is not. What has been unregistered before may be so again. Returns 0 with *done, up to where, or -errno: not as a
 * whole.
 */
static int unregister_grown(const struct pager *pager, const struct space *space, struct region part, uint64_t limit,
			    uint64_t *done)
{
	uint64_t end = registered_end(space, part.end);
	int rc;

	/* What is registered with another descriptor may lie in the room. */
	*done = index_header(pager->index)->session.unregister_checked ? max_u64(limit, end) : end;
	failpoint("releasing");
	rc = uffd_unregister(space->uffd, (struct region){part.start, *done});
	if (rc == -EINVAL && *done > end) {
		*done = min_u64(*done, next_of_target(pager, end));
		rc = uffd_unregister(space->uffd, (struct region){part.start, *done});
	}
	while (rc == -EINVAL && *done > end) {
		*done -= max_u64(round_down((*done - end) / ROOM_STEPS, page_size()), page_size());
		rc = uffd_unregister(space->uffd, (struct region){part.start, *done});
	}
	return rc;
}

/* By what is registered there: some of it may be gone, and something else there instead. */
static void unregister_found(const struct pager *pager, const struct space *space, struct region region, uint64_t limit)
{
	uint64_t done;

	for (uint64_t at = region.start; at < region.end; at = max_u64(at + page_size(), done)) {
		done = 0;
		if (uffd_registered(space->uffd, at))
			unregister_grown(pager, space, region_at(at, page_size()), limit, &done);
	}
}

/*
 * By what was registered when it was forked, and has moved since. What is still listed when it forks itself is listed
 * of its child as well.
 */
static bool unregister_child(struct pager *pager, struct space *space)
{
	struct region_vec *list = &space->registered;

	while (list->count && !uffd_changing(space->uffd)) {
		struct region first = list->items[0];
		uint64_t limit = list->count > 1 ? list->items[1].start : ADDRESSES_END;
		uint64_t done;

		if (unregister_grown(pager, space, first, limit, &done) == -EINVAL) {
			unregister_found(pager, space, first, limit);
			done = limit;
		}
		failpoint("released");
		if (uffd_changing(space->uffd))
			break;
		pthread_mutex_lock(&pager->lock);
		region_vec_remove(list, (struct region){0, done});
		if (uffd_registered(space->uffd, done)) /* it has grown beyond that */
			region_vec_insert(list, region_at(done, page_size()));
		pthread_mutex_unlock(&pager->lock);
	}
	return !list->count && !uffd_changing(space->uffd);
}

bool space_release(struct pager *pager, struct space *space)
{
	bool closed;
	bool empty;

	pthread_rwlock_wrlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	closed = !space->used || space->dead;
	empty = !index_count(pager->index, space->id);
	pthread_mutex_unlock(&pager->lock);
	if (!closed && empty && unregister_child(pager, space)) {
		close_space(pager, space);
		closed = true;
	}
	pthread_rwlock_unlock(&space->events);
	return closed;
}

bool space_unregister_all(struct pager *pager)
{
	struct region everything = {0, UINT64_MAX};

	return unregister_listed(pager, &(struct region_vec){.items = &everything, .count = 1});
}

bool space_tidy(struct pager *pager)
{
	_cleanup_regions_ struct region_vec empty = {0};
	struct space *space = &pager->spaces[0];

	pthread_mutex_lock(&pager->lock);
	for (size_t i = 0; !space->dead && i < space->registered.count; i++)
		if (!index_any(pager->index, 0, space->registered.items[i]) &&
		    region_vec_push(&empty, space->registered.items[i]) < 0)
			break;
	pthread_mutex_unlock(&pager->lock);
	if (!empty.count || unregister_listed(pager, &empty))
		return true;
	space->check_soon = true;
	return false;
}
