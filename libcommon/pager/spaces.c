/* Address spaces that are served, and which of their mappings are registered. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pager/held.h"
#include "pager/hook.h"
#include "pager/keep.h"
#include "pager/pager.h"
#include "proc/maps.h"

struct space *space_new(struct pager *pager, int uffd)
{
	for (unsigned int i = 0; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];

		if (space->used)
			continue;
		/*
		 * `used` falls only under `events` and `lock`. Who found something about the one that was here before
		 * looks again under them.
		 */
		space->id = i;
		space->uffd = uffd;
		space->used = true;
		space->dead = false;
		space->check_soon = false;
		space->unsaved = false;
		space->strays = false;
		space->unchecked = false;
		region_vec_free(&space->left_to_kernel);
		index_header(pager->index)->spaces[i].left_to_kernel = (struct region){0, 0};
		space->held_up_since_ns = 0;
		space->since_us = now_us();
		return space;
	}
	return NULL;
}

void spaces_save(struct pager *pager)
{
	for (unsigned int i = 1; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];
		struct keep_message message = {.op = KEEP_DESCRIPTOR, .number = space->kept};

		if (space->used && !space->dead && space->kept && space->unsaved)
			space->unsaved = keep_send(pager->supervisor, &message, space->uffd) < 0;
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

/* `events` is held exclusively. */
static void close_space(struct pager *pager, struct space *space)
{
	pthread_mutex_lock(&pager->lock);
	if (space->used && !space->dead) {
		space->dead = true;
		space_drop(pager, space, (struct region){0, UINT64_MAX});
		fault_unwatch(pager, space);
		close(space->uffd);
		space->uffd = -1;
		if (space->kept)
			keep_send(pager->supervisor, &(struct keep_message){.op = KEEP_DROP, .number = space->kept},
				  -1);
		space->kept = 0;
		index_header(pager->index)->spaces[space->id].used = false;
		held_forget(pager, space->id);
		region_vec_free(&space->registered);
		space->used = space->id == 0; /* the target's own place is not given to a child */
	}
	pthread_mutex_unlock(&pager->lock);
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
	hook("gone");
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

static bool movable(const struct mapping *mapping)
{
	return mapping->kind == MAPPING_ANON && mapping->write && !mapping->shared;
}

int space_register(struct pager *pager, struct space *space, uint64_t address)
{
	struct mapping before;
	struct mapping after;
	int rc = mapping_at(pager->maps_fd, address, &before);

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	if (!movable(&before))
		return -EINVAL;
	rc = uffd_register_missing(space->uffd, before.region);
	if (rc < 0)
		return rc == -ENOMEM ? -ENOENT : rc == -EBUSY ? -EINVAL : rc;
	/*
	 * Registered, it can no longer change without an event. Had it changed before that, it would show now; had it
	 * changed since, the unread event makes the move fail. It stays registered then: a part of it may have been
	 * before, with pages out.
	 */
	rc = mapping_at(pager->maps_fd, address, &after);
	if (rc <= 0 || !movable(&after) || after.region.start != before.region.start ||
	    after.region.end != before.region.end) {
		space->strays = true;
		return -EAGAIN;
	}
	pthread_mutex_lock(&pager->lock);
	rc = region_vec_insert(&space->registered, before.region);
	pthread_mutex_unlock(&pager->lock);
	return rc;
}

/* Page by page where the kernel does not take it as a whole: it may be several mappings by now. */
static void register_again(const struct space *space, struct region region)
{
	if (uffd_register_missing(space->uffd, region) == 0)
		return;
	for (uint64_t at = region.start; at < region.end; at += page_size())
		uffd_register_missing(space->uffd, (struct region){at, at + page_size()});
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
		register_again(space, left.items[i]);
	if (left.count && space->id == 0)
		space->strays = true; /* something else may lie there by now */
	region_vec_free(&left);
	index_header(pager->index)->spaces[space->id].left_to_kernel = (struct region){0, 0};
}

/*
 * Unregisters a region unless it is registered with somebody else's descriptor (kernels before 6.17 would unregister
 * that, too). `events` is held exclusively, but there may be unread ones: something that is out may have moved here.
 * Whoever moved it waits for its event to be read and does not touch it before, so it is in time to take it back then.
 *
 * Its last mapping may grow in place at any time, of which no event tells; half registered it would be two mappings,
 * and mremap(2) of it would fail. It can grow up to `limit`, where the next one begins. Returns 0, -EAGAIN when it has
 * to be tried again, after the events, or another -errno: not as a whole.
 */
static int unregister(struct space *space, struct region region, uint64_t limit)
{
	struct region most = {region.start, limit};
	int rc = uffd_changing(space->uffd) ? -EAGAIN : uffd_register_missing(space->uffd, region);

	if (rc < 0)
		return rc;
	if (uffd_unregister(space->uffd, most) < 0) /* something else lies there by now */
		uffd_unregister(space->uffd, region);
	if (!uffd_changing(space->uffd))
		return 0;
	if (uffd_register_missing(space->uffd, most) < 0)
		register_again(space, region);
	if (space->id == 0)
		space->strays = true;
	return -EAGAIN;
}

/* Returns false when it has to be tried again. */
static bool unregister_empty(struct pager *pager, struct space *space, struct region region, uint64_t limit)
{
	bool done = true;
	bool keep;
	bool listed;

	pthread_rwlock_wrlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	keep = index_any(pager->index, space->id, region);
	listed = space_registered(space, region);
	pthread_mutex_unlock(&pager->lock);
	if (!space->dead && !keep) {
		done = unregister(space, region, limit) != -EAGAIN;
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
		uint64_t limit = mapping.region.end;

		more = maps_next(&reader, &next) > 0;
		if (more)
			limit = next.region.start;
		while (at < list->count && list->items[at].end <= mapping.region.start)
			at++;
		if (at < list->count && mapping.kind == MAPPING_ANON && !mapping.shared &&
		    region_overlaps(list->items[at], mapping.region) &&
		    !region_overlaps(pager->staging, mapping.region))
			all &= unregister_empty(pager, &pager->spaces[0], mapping.region, limit);
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

/* By what is registered there: some of it may be gone. Each mapping as a whole, with what it has grown by. */
static int unregister_found(struct space *space, struct region region)
{
	int rc = 0;

	for (uint64_t at = region.start, end; rc != -EAGAIN && at < region.end; at = max_u64(end, at + page_size())) {
		end = registered_end(space, at);
		if (end > at)
			rc = unregister(space, (struct region){at, end}, end);
	}
	return rc;
}

/*
 * By what was registered when it was forked, and has moved since. It may have grown meanwhile, of which no event tells:
 * what is registered behind it is a part of it.
 */
static bool unregister_child(struct space *space)
{
	int rc = 0;

	for (size_t i = 0; rc != -EAGAIN && i < space->registered.count; i++) {
		struct region region = space->registered.items[i];
		uint64_t end = registered_end(space, region.end);

		rc = unregister(space, (struct region){region.start, end}, end);
		if (rc < 0 && rc != -EAGAIN)
			rc = unregister_found(space, region);
		hook("releasing");
		if (rc == 0) /* what it has grown by just now */
			rc = unregister_found(space, (struct region){end, end + page_size()});
	}
	return rc != -EAGAIN && !uffd_changing(space->uffd);
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
	if (!closed && empty && unregister_child(space)) {
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
