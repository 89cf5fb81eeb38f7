/* Address spaces that are served, and which of their mappings are registered. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pager/keep.h"
#include "pager/pager.h"
#include "proc/maps.h"

struct space *space_new(struct pager *pager, int uffd)
{
	for (unsigned int i = 0; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];

		if (space->used)
			continue;
		/* A place is never reused while a thread may still hold a pointer to it: `used` falls only under `events` and `lock`. */
		space->id = i;
		space->uffd = uffd;
		space->used = true;
		space->dead = false;
		space->check_soon = false;
		if (fault_watch(pager, space) < 0) {
			space->used = false;
			return NULL;
		}
		return space;
	}
	return NULL;
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

void space_close(struct pager *pager, struct space *space, bool forget)
{
	pthread_rwlock_wrlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	if (space->used && !space->dead) {
		space->dead = true;
		if (forget)
			space_drop(pager, space, (struct region){0, UINT64_MAX});
		fault_unwatch(pager, space);
		close(space->uffd);
		space->uffd = -1;
		if (space->kept)
			keep_send(pager->supervisor, &(struct keep_message){.op = KEEP_DROP, .number = space->kept},
				  -1);
		space->kept = 0;
		index_header(pager->index)->spaces[space->id].used = false;
		region_vec_free(&space->registered);
		space->used = space->id == 0; /* the target's own place is not given to a child */
	}
	pthread_mutex_unlock(&pager->lock);
	pthread_rwlock_unlock(&space->events);
}

bool space_check(struct pager *pager, struct space *space)
{
	bool alive;

	pthread_rwlock_rdlock(&space->events);
	alive = !space->dead && uffd_alive(space->uffd);
	pthread_rwlock_unlock(&space->events);
	if (!alive)
		space_close(pager, space, true);
	return alive;
}

bool space_registered(const struct space *space, struct region region)
{
	for (size_t i = 0; i < space->registered.count; i++)
		if (region_contains(space->registered.items[i], region))
			return true;
	return false;
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
	 * Registered, it can no longer change without an event. Had it changed before that, it would show now; had it changed since, the
	 * unread event makes the move fail.
	 */
	rc = mapping_at(pager->maps_fd, address, &after);
	if (rc <= 0 || !movable(&after) || after.region.start != before.region.start ||
	    after.region.end != before.region.end) {
		uffd_unregister(space->uffd, before.region);
		return -EAGAIN;
	}
	pthread_mutex_lock(&pager->lock);
	rc = region_vec_push(&space->registered, before.region);
	region_vec_normalize(&space->registered);
	pthread_mutex_unlock(&pager->lock);
	return rc;
}

static bool nothing_out(struct pager *pager, const struct space *space, struct region region)
{
	bool any;

	pthread_mutex_lock(&pager->lock);
	any = index_any(pager->index, space->id, region);
	pthread_mutex_unlock(&pager->lock);
	return !any;
}

void space_unregister_all(struct pager *pager, struct space *space, struct region region)
{
	struct maps_reader reader;
	struct mapping mapping;

	if (space->id != 0) { /* a child; closing its descriptor does the rest */
		uffd_unregister(space->uffd, region);
		return;
	}
	if (maps_open(&reader, &pager->target) < 0)
		return;
	while (maps_next(&reader, &mapping) > 0 && mapping.region.start < region.end)
		if (mapping.kind == MAPPING_ANON && region_overlaps(mapping.region, region) &&
		    nothing_out(pager, space, mapping.region))
			uffd_unregister(space->uffd, mapping.region);
	maps_close(&reader);
}

/* The first registered mapping at or behind `from` with nothing out. */
static bool find_empty(struct pager *pager, const struct space *space, uint64_t from, struct region *empty)
{
	for (size_t i = 0; i < space->registered.count; i++) {
		*empty = space->registered.items[i];
		if (empty->start >= from && !index_any(pager->index, space->id, *empty))
			return true;
	}
	return false;
}

void space_tidy(struct pager *pager, struct space *space)
{
	uint64_t from = 0;

	for (;;) {
		struct region empty;
		bool found;

		pthread_rwlock_wrlock(&space->events);
		pthread_mutex_lock(&pager->lock);
		found = !space->dead && find_empty(pager, space, from, &empty);
		for (size_t i = 0; found && i < space->registered.count; i++)
			if (space->registered.items[i].start == empty.start)
				space->registered.items[i].end = empty.start;
		if (found)
			region_vec_normalize(&space->registered);
		pthread_mutex_unlock(&pager->lock);
		if (found)
			space_unregister_all(pager, space, empty);
		pthread_rwlock_unlock(&space->events);
		if (!found)
			return;
		from = empty.end;
	}
}
