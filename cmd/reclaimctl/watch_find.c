/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: finding processes that have a ring. */
#include <errno.h>
#include <stdlib.h>

#include <sys/epoll.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "watch.h"

#define STEP_FIRST UINT64_C(1000000000) /* a program makes its ring soon after its start, if at all */
#define STEP_LAST  (32 * STEP_FIRST)

int watch_add(struct watcher *w, struct target *target, struct ring_found *ring, bool named)
{
	struct watched *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->target = *target;
	m->ring = *ring;
	m->named = named;
	m->preference = preference_of(&w->options->preferences, m->target.pid);
	m->next = w->all;
	*target = TARGET_NONE;
	*ring = RING_FOUND_NONE;
	w->all = m;
	w->sums.processes++;
	watch_poll(w, m->target.pidfd, EPOLLIN, EVENT_PROCESS);
	watch_emit_event(w, &m->target, "found");
	return 0;
}

static bool is_watched(const struct watcher *w, pid_t pid)
{
	for (const struct watched *m = w->all; m; m = m->next)
		if (m->target.pid == pid && !m->gone)
			return true;
	return false;
}

static int push_known(struct known_vec *vec, struct known known)
{
	if (array_reserve(&vec->items, vec->count, &vec->capacity) < 0)
		return -ENOMEM;
	vec->items[vec->count++] = known;
	return 0;
}

static int compare_pids(const void *a, const void *b)
{
	const struct known *one = a;
	const struct known *other = b;

	return (one->pid > other->pid) - (one->pid < other->pid);
}

static struct known recall_known(const struct known_vec *vec, pid_t pid)
{
	const struct known key = {.pid = pid};
	const struct known *found =
		vec->count ? bsearch(&key, vec->items, vec->count, sizeof(key), compare_pids) : NULL;

	return found ? *found : key;
}

/* A ring that makes no sense is told of once; what belongs to others, or just has no ring, is not worth a word. */
static bool try_one(struct watcher *w, struct known *known, uint64_t now_ns)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	struct error error = {0};
	bool first;
	int rc;

	if (target_open(&target, known->pid, -1, &error) < 0)
		return false;
	first = known->starttime != target.starttime;
	known->step_ns = first ? STEP_FIRST : min_u64(known->step_ns * 2, STEP_LAST);
	known->next_ns = now_ns + known->step_ns;
	known->starttime = target.starttime;
	rc = ring_find(&target, !w->options->dry_run, &ring, &error);
	if (rc == 0)
		return watch_add(w, &target, &ring, false) == 0;
	if (rc == -EBADMSG && first)
		watch_failed(w, &target, "find", &error);
	return false;
}

void watch_find(struct watcher *w, uint64_t now_ns)
{
	struct known_vec still = {0};
	_cleanup_choices_ struct choices choices = {0};

	if (cli_names_process(&w->run->options) || now_ns < w->scan_ns)
		return;
	w->scan_ns = now_ns + w->options->interval_ns;
	/* A unit that does not run now may run again. */
	if (choice_find(&choices, &w->run->options.processes, &(struct region_input){0}, NULL) < 0)
		choices.count = 0;
	for (size_t i = 0; i < choices.count; i++) {
		pid_t pid = choices.items[i].pid;
		struct known known;

		if (is_watched(w, pid))
			continue;
		known = recall_known(&w->known, pid);
		if (now_ns >= known.next_ns && try_one(w, &known, now_ns))
			continue;
		if (push_known(&still, known) < 0)
			break;
	}
	if (still.count)
		qsort(still.items, still.count, sizeof(*still.items), compare_pids);
	free(w->known.items);
	w->known = still;
}
