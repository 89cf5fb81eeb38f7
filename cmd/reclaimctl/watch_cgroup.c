/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: cgroups with a limit of memory, whose notices wake us before it is hit. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "watch.h"

#define SOON_NS UINT64_C(50000000) /* between looks where no notice can tell, at least */

/* While the cgroups of one process are followed upwards. */
struct climb {
	struct watcher *w;
	struct watched_cgroup **link; /* where the next one above belongs */
	struct cgroup_memory *nearest;
};

static void poll_for(struct watcher *w, struct watched_cgroup *group, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = EVENT_CGROUP | (uint64_t)group->id << 32};

	if (fd >= 0)
		epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void listen_to(struct watcher *w, struct watched_cgroup *group, uint64_t limit)
{
	uint64_t margin = ring_margin(&w->options->params, limit);

	cgroup_notice_close(&group->notice);
	group->limit = limit;
	if (w->options->dry_run || !margin || cgroup_notice_open(&group->notice, group->directory, limit, margin) < 0)
		return;
	poll_for(w, group, group->notice.event, EPOLLIN);
	poll_for(w, group, group->notice.events, EPOLLPRI);
	poll_for(w, group, group->notice.pressure, EPOLLPRI);
}

static struct watched_cgroup *add_group(struct watcher *w, int directory, const struct stat *stat)
{
	struct watched_cgroup *group = calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	*group = (struct watched_cgroup){
		.next = w->cgroups,
		.dev = stat->st_dev,
		.ino = stat->st_ino,
		.id = ++w->cgroup_id,
		.directory = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.limit = UINT64_MAX,
		.notice = CGROUP_NOTICE_NONE,
	};
	w->cgroups = group;
	return group;
}

static struct watched_cgroup *group_of(struct watcher *w, int directory)
{
	struct stat stat;

	if (fstat(directory, &stat) < 0)
		return NULL;
	for (struct watched_cgroup *group = w->cgroups; group; group = group->next)
		if (group->dev == stat.st_dev && group->ino == stat.st_ino)
			return group;
	return add_group(w, directory, &stat);
}

static void take_limit(void *context, int directory, const struct cgroup_memory *memory)
{
	struct climb *climb = context;
	struct watched_cgroup *group = group_of(climb->w, directory);

	if (cgroup_memory_left(memory) < cgroup_memory_left(climb->nearest))
		*climb->nearest = *memory;
	if (!group)
		return;
	if (group->limit != memory->limit)
		listen_to(climb->w, group, memory->limit);
	*climb->link = group;
	climb->link = &group->above;
}

void watch_join(struct watcher *w, struct watched *m, struct cgroup_memory *nearest)
{
	_cleanup_close_ int directory = cgroup_of_memory(&m->target);
	struct climb climb = {.w = w, .link = &m->cgroup, .nearest = nearest};

	*nearest = (struct cgroup_memory){.limit = UINT64_MAX};
	if (directory >= 0)
		cgroup_limits(directory, take_limit, &climb);
	*climb.link = NULL;
}

/*
 * Page cache hides from thresholds how much is left, and version 2 has none: then as long as it takes to use up at 1
 * GiB/s what is left above the margin.
 */
uint64_t watch_revisit_ns(const struct watcher *w, const struct cgroup_memory *memory)
{
	uint64_t margin = ring_margin(&w->options->params, memory->limit), left = cgroup_memory_left(memory);

	return left >= 16 * GiB || !margin ? UINT64_MAX : max_u64(left - min_u64(left, margin), SOON_NS);
}

static void drop_cgroup(struct watched_cgroup *group)
{
	cgroup_notice_close(&group->notice);
	cleanup_close(&group->directory);
	free(group);
}

void watch_leave_unused(struct watcher *w)
{
	struct watched_cgroup **at = &w->cgroups;

	for (struct watched_cgroup *group = w->cgroups; group; group = group->next)
		group->used = false;
	for (const struct watched *m = w->all; m; m = m->next)
		for (struct watched_cgroup *group = m->cgroup; group; group = group->above)
			group->used = true;
	while (*at) {
		struct watched_cgroup *group = *at;

		if (group->used) {
			at = &group->next;
			continue;
		}
		*at = group->next;
		drop_cgroup(group);
	}
}
