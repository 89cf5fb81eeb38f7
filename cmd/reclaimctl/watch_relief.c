/* SPDX-License-Identifier: MIT */
/* Cgroups that are near their limit: their rings give way. */
#include "base/clock.h"
#include "base/size.h"
#include "watch.h"

#define RELIEF_MAX 64 /* rings that are reclaimed from for one notice */

static bool is_member(const struct watched *m, const struct watched_cgroup *group)
{
	const struct watched_cgroup *at = m->cgroup;

	while (at && at != group)
		at = at->above;
	return at;
}

/* Of those that are liked alike: what takes the least time to free the most. */
static bool gives_before(const struct watched *m, const struct watched *other)
{
	if (!other || m->preference != other->preference)
		return !other || m->preference > other->preference;
	return ring_bytes(&m->ring.view) > ring_bytes(&other->ring.view);
}

static struct watched *largest_ring(const struct watcher *w, const struct watched_cgroup *group)
{
	uint64_t now = clock_now_ns();
	struct watched *largest = NULL;

	for (struct watched *m = w->all; m; m = m->next) {
		if (m->gone || m->ring.fd < 0 || now < m->retry_ns || !is_member(m, group))
			continue;
		if (ring_bytes(&m->ring.view) && gives_before(m, largest))
			largest = m;
	}
	return largest;
}

static bool relieve_cgroup(struct watcher *w, const struct watched_cgroup *group)
{
	cgroup_notice_clear(&group->notice);
	for (unsigned int i = 0; i < RELIEF_MAX && !w->ending; i++) {
		struct cgroup_memory memory;
		struct watched *m;
		uint64_t wanted;

		if (cgroup_memory_here(group->directory, &memory) < 0)
			return false;
		wanted = ring_wanted_by_limit(&w->options->params, memory.limit, cgroup_memory_left(&memory));
		m = wanted ? largest_ring(w, group) : NULL;
		if (!m)
			return true;
		watch_relieve(w, m, &memory, wanted);
	}
	return true;
}

bool watch_noticed(struct watcher *w, uint32_t id)
{
	for (const struct watched_cgroup *group = w->cgroups; group; group = group->next)
		if (group->id == id)
			return relieve_cgroup(w, group);
	return true;
}
