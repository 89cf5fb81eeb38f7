/* SPDX-License-Identifier: MIT */
/*
 * Room for children: each takes a place in the index, as much of it as its parent has, and a descriptor here and in the
 * supervisor. At the limit of any of them a fork would wait for ever, so those children of which the least is out get
 * it back and are let go.
 */
#include "swapin/room.h"

#include <sys/resource.h>
#include <unistd.h>

#include "index/index.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "service/pulse.h"
#include "swapin/fill.h"
#include "swapin/filler.h"

#define AT_ONCE  8
#define SPARE    (2 * FAULT_THREADS_MAX) /* for children that come while others are looked at */
#define AGAIN_US 1000000                 /* after a child could not be let go */

void room_init(struct pager *pager)
{
	struct rlimit limit = {.rlim_cur = DESCRIPTORS_MIN};
	uint64_t most;

	pthread_mutex_init(&pager->children.room, NULL);
	getrlimit(RLIMIT_NOFILE, &limit);
	most = max_u64(limit.rlim_cur, DESCRIPTORS_MIN) - DESCRIPTORS_OWN;
	pager->children.most = (unsigned int)min_u64(most, INDEX_SPACES) - SPARE;
}

_Static_assert(INDEX_SPACES_FIRST > FAULT_THREADS_MAX, "the first children have a place, whoever reads their forks");

/* Others may read a fork at the same time. `lock` is held. */
static bool index_is_full(const struct pager *pager, const struct space *parent)
{
	unsigned int next = 1;

	while (next < INDEX_SPACES && pager->spaces[next].used)
		next++;
	next = (unsigned int)min_u64(next + FAULT_THREADS_MAX, INDEX_SPACES) - 1;
	return index_room_for_space(pager->index, next) < 0 || index_room_for_child(pager->index, parent->id) < 0;
}

bool room_is_full(struct pager *pager, const struct space *parent)
{
	unsigned int children = atomic_load(&pager->children.count);
	bool full;

	if (!children || children >= pager->children.most)
		return children;
	pthread_mutex_lock(&pager->lock);
	full = index_is_full(pager, parent);
	pthread_mutex_unlock(&pager->lock);
	return full;
}

/* `lock` is held. */
static struct space *least_out(struct pager *pager)
{
	struct space *least = NULL;
	uint64_t now = now_us();

	for (unsigned int i = 1; i < INDEX_SPACES; i++) {
		struct space *space = &pager->spaces[i];

		if (space->used && !space->dead && now >= space->room_again_us &&
		    (!least || index_count(pager->index, i) < index_count(pager->index, least->id)))
			least = space;
	}
	return least;
}

/* Nothing can be placed in one that has an event unread: it has its turn when that has been read. */
static bool let_go_of_one(struct filler *filler)
{
	const struct region everything = {0, UINT64_MAX};
	struct pager *pager = filler->pager;
	struct space *space;
	bool changing;

	pthread_mutex_lock(&pager->lock);
	space = least_out(pager);
	changing = space && uffd_changing(space->uffd);
	if (space)
		space->room_again_us = now_us() + AGAIN_US;
	pthread_mutex_unlock(&pager->lock);
	if (!space)
		return false;
	pulse_next(filler->pulse);
	if (!changing && fill_region(filler, space, everything) >= 0)
		space_release(pager, space);
	return true;
}

void room_make(struct filler *filler)
{
	struct pager *pager = filler->pager;

	if (pthread_mutex_trylock(&pager->children.room) != 0) {
		usleep(RETRY_MS * 1000); /* another thread is at it */
		return;
	}
	for (unsigned int i = 0; i < AT_ONCE && atomic_load(&pager->children.count); i++)
		if (!let_go_of_one(filler)) {
			usleep(RETRY_MS * 1000);
			break;
		}
	pthread_mutex_unlock(&pager->children.room);
}
