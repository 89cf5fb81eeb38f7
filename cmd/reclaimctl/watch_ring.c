/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: one ring, looked at, sampled and reclaimed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "reclaim/reclaimer.h"
#include "watch.h"

#define LOCK_MS  200 /* others hold it for the time of a few batches */
#define PATIENCE 5   /* what takes longer than it should is told of when it has so often in a row */

/* Tried again later, and later still when that fails as well. */
static void postpone_retry(struct watched *m, uint64_t now_ns)
{
	m->failures++;
	m->retry_ns = now_ns + ring_backoff_ns(m->failures);
}

static void note_failure(struct watcher *w, struct watched *m, const char *op, const struct error *error)
{
	if (!target_alive(&m->target)) {
		m->gone = true;
		return;
	}
	postpone_retry(m, clock_now_ns());
	if (error->code == -ESRCH) /* it is about to end */
		return;
	m->late = error->code == -ETIMEDOUT ? m->late + 1 : 0;
	if ((m->late && m->late < PATIENCE) || (m->stopped_ns && m->refused_ns == m->stopped_ns))
		return;
	m->refused_ns = m->stopped_ns;
	watch_failed(w, &m->target, op, error);
}

/* Another program has its memory now; that may make a ring as well, some time. */
static void lose_ring(struct watcher *w, struct watched *m, uint64_t now_ns)
{
	ring_release(&m->ring);
	m->sampled_ns = m->stopped_ns = 0;
	m->told = (struct ring_decision){0};
	m->gone = !m->named;
	if (m->gone)
		return;
	watch_emit_event(w, &m->target, "lost");
	postpone_retry(m, now_ns);
}

static void find_again(struct watcher *w, struct watched *m, uint64_t now_ns)
{
	struct error error = {0};
	int rc = ring_find(&m->target, !w->options->dry_run, &m->ring, &error);

	if (rc == 0) {
		m->failures = 0;
		watch_emit_event(w, &m->target, "found");
	} else if (rc == -ENOMSG || rc == -ESRCH) {
		postpone_retry(m, now_ns);
	} else {
		note_failure(w, m, "find", &error);
	}
}

/*
 * The program may have run another one, or unmapped its ring. Returns 0, -ENOENT, -ESRCH, or -EBADMSG with `error`
 * filled.
 */
static int check_ring(const struct watched *m, struct error *error)
{
	_cleanup_close_ int maps = target_proc_open(&m->target, "maps", O_RDONLY);
	int rc = maps < 0 ? maps : ring_is_mapped(&m->ring, maps);

	if (rc == 0)
		rc = ring_view_check(&m->ring.view);
	if (rc == -EBADMSG)
		return error_set(error, rc, "its indices or capacity make no sense",
				 "leave it alone: a ring that lies is an error in that program",
				 "look at the reclaim ring of process %d", m->target.pid);
	return rc == 0 || rc == -ENOENT || rc == -ESRCH
		       ? rc
		       : error_set(error, rc, NULL, NULL, "look at process %d", m->target.pid);
}

/*
 * With --dry-run: the ring as it is, but for what the samples before this one would have left there. Since nobody began
 * a new period in the ring, the minimum is that of our looks.
 */
static void pretend_begin(struct watched *m, struct ring_view *view, struct ring_shared *copy)
{
	memcpy(copy, view->shared, sizeof(*copy));
	view->shared = copy;
	if (!m->sampled_ns)
		return;
	copy->samples = m->dry.samples;
	copy->sampled_ns = m->dry.sampled_ns;
	copy->weighted = m->dry.weighted;
	copy->minimum = min_u64(m->dry.minimum, ring_bytes(view));
}

static void pretend_end(struct watched *m, const struct ring_shared *copy)
{
	m->dry.samples = copy->samples;
	m->dry.sampled_ns = copy->sampled_ns;
	m->dry.weighted = copy->weighted;
	m->dry.minimum = copy->minimum;
}

static void emit_sample(struct watcher *w, const struct watched *m, const struct ring_view *view)
{
	json_t *record = report_process("sample", m->target.pid, m->target.starttime);

	ring_number(record, "entries", ring_entries(view));
	ring_number(record, "bytes", ring_bytes(view));
	ring_number(record, "weighted_minimum_bytes", view->shared->weighted);
	json_object_set_new(record, "level", json_string(ring_level_name(view->shared->level)));
	watch_emit(w, record);
}

/*
 * Whether the program has entered and cancelled nothing since the last sample. What it takes out for a while shows in
 * the minimum.
 */
static bool is_idle(const struct watched *m, const struct ring_view *view)
{
	const struct ring_shared *shared = view->shared;

	return m->used.tail == shared->tail && m->used.bytes_in == shared->bytes_in &&
	       m->used.entries_in == shared->entries_in && shared->minimum >= ring_bytes(view);
}

/*
 * A sample of a ring that its program does not use is no sign of life: the age of the last one that was tells for how
 * long it has been abandoned.
 */
static void take_sample(struct watcher *w, struct watched *m, const struct ring_view *view, uint64_t now_ns,
			struct ring_observation *seen)
{
	struct ring_shared *shared = view->shared;
	const uint64_t before = shared->sampled_ns;
	bool idle;

	seen->abandoned = ring_abandoned(view, now_ns);
	idle = m->sampled_ns ? is_idle(m, view) : seen->abandoned != 0;
	seen->unneeded = ring_sample(view, now_ns);
	if (idle)
		shared->sampled_ns = before;
	m->used.tail = shared->tail;
	m->used.bytes_in = shared->bytes_in;
	m->used.entries_in = shared->entries_in;
	m->sampled_ns = now_ns;
	w->sums.samples++;
	if (w->options->verbose)
		emit_sample(w, m, view);
}

static uint64_t period_of(const struct watcher *w, const struct ring_shared *shared)
{
	return w->options->period_ns ? w->options->period_ns : shared->period_ns;
}

/* What the ring says of the future is not believed. */
static bool is_due(const struct watcher *w, const struct watched *m, const struct ring_shared *shared, uint64_t now_ns)
{
	const uint64_t sampled = shared->sampled_ns;
	const uint64_t last = max_u64(sampled <= now_ns ? sampled : 0, m->sampled_ns);

	return now_ns - last >= period_of(w, shared);
}

/* Level and period as they should be, and a sample when it is time for one. */
static void bring_up_to_date(struct watcher *w, struct watched *m, const struct ring_view *view, uint64_t now_ns,
			     struct ring_observation *seen)
{
	const bool due = is_due(w, m, view->shared, now_ns);

	view->shared->period_ns = period_of(w, view->shared);
	view->shared->level = w->level;
	if (due)
		take_sample(w, m, view, now_ns, seen);
}

static bool is_up_to_date(const struct watcher *w, const struct watched *m, uint64_t now_ns)
{
	const struct ring_shared *shared = m->ring.view.shared;

	return shared->level == w->level && shared->period_ns == period_of(w, shared) && !is_due(w, m, shared, now_ns);
}

/* Returns 0 or -errno: the lock could not be had. */
static int sample_ring(struct watcher *w, struct watched *m, uint64_t now_ns, struct ring_observation *seen)
{
	struct ring_view view = m->ring.view;
	struct ring_shared copy;
	int rc;

	if (w->options->dry_run) {
		pretend_begin(m, &view, &copy);
		bring_up_to_date(w, m, &view, now_ns, seen);
		pretend_end(m, &copy);
		return 0;
	}
	if (is_up_to_date(w, m, now_ns))
		return 0;
	rc = ring_lock(m->ring.fd, LOCK_MS);
	if (rc < 0)
		return rc;
	/* The program may have taken one since: another one right after it would take all for unneeded. */
	bring_up_to_date(w, m, &view, clock_now_ns(), seen);
	ring_unlock(m->ring.fd);
	return 0;
}

static bool is_claimed(const struct ring_view *view)
{
	return atomic_load(&view->shared->busy) != atomic_load(&view->shared->head);
}

/* What is claimed while we hold the lock was left by a reclaimer that was killed. */
static bool is_batch_left(const struct watched *m)
{
	bool left;

	if (!is_claimed(&m->ring.view) || ring_lock(m->ring.fd, 0) < 0)
		return false;
	left = is_claimed(&m->ring.view);
	ring_unlock(m->ring.fd);
	return left;
}

/* An empty ring needs no look at its process, but its cgroup may be filled at any time. */
static struct ring_observation observe_ring(struct watcher *w, struct watched *m, uint64_t now_ns)
{
	struct ring_observation seen = {
		.bytes = ring_bytes(&m->ring.view),
		.left = UINT64_MAX,
		.limit = UINT64_MAX,
		.batch_left = is_batch_left(m),
		.level = w->level,
		.pressed = w->pressed,
	};
	struct cgroup_memory memory;

	seen.stopped = seen.bytes && target_is_stopped(&m->target);
	if (!seen.stopped)
		m->stopped_ns = 0;
	else if (!m->stopped_ns)
		m->stopped_ns = now_ns;
	seen.stopped_ns = seen.stopped ? now_ns - m->stopped_ns : 0;
	watch_join(w, m, &memory);
	seen.limit = memory.limit;
	seen.left = cgroup_memory_left(&memory);
	if (seen.bytes)
		w->soon_ns = min_u64(w->soon_ns, watch_revisit_ns(w, &memory));
	return seen;
}

/* What it rests on. */
static json_t *reclaim_record(const struct watched *m, const struct ring_observation *seen,
			      const struct ring_decision *decision)
{
	json_t *record = report_process("reclaim", m->target.pid, m->target.starttime);

	json_object_set_new(record, "why", json_string(ring_why_name(decision->why)));
	json_object_set_new(record, "level", json_string(ring_level_name(seen->level)));
	ring_number(record, "wanted_bytes", decision->bytes);
	if (decision->why == RING_STOPPED)
		ring_number(record, "stopped_ms", seen->stopped_ns / 1000000);
	if (decision->why == RING_LIMIT) {
		ring_number(record, "limit_bytes", seen->limit);
		ring_number(record, "left_bytes", seen->left);
	}
	return record;
}

/* Said again only when it has changed. */
static void pretend_act(struct watcher *w, struct watched *m, const struct ring_observation *seen,
			const struct ring_decision *decision)
{
	json_t *record;

	if (m->told.why == decision->why && m->told.bytes == decision->bytes)
		return;
	m->told = *decision;
	record = reclaim_record(m, seen, decision);
	json_object_set_new(record, "dry_run", json_true());
	ring_number(record, "ring_bytes", seen->bytes);
	w->sums.reclaims++;
	watch_emit(w, record);
}

static void count_trimmed(const struct watched *m, uint64_t bytes)
{
	struct ring_shared *shared = m->ring.view.shared;

	if (ring_lock(m->ring.fd, LOCK_MS) < 0)
		return;
	shared->trimmed_bytes += bytes;
	ring_unlock(m->ring.fd);
}

static void count_reclaimed(struct watcher *w, struct watched *m, const struct reclaim_done *done,
			    const struct ring_decision *decision, json_t *record)
{
	ring_number(record, "entries", done->entries);
	ring_number(record, "bytes", done->bytes);
	ring_number(record, "refused_entries", done->refused);
	ring_number(record, "ring_bytes", ring_bytes(&m->ring.view));
	w->sums.reclaims++;
	w->sums.entries += done->entries;
	w->sums.bytes += done->bytes;
	if (decision->why == RING_TRIM)
		count_trimmed(m, done->bytes);
	watch_emit(w, json_incref(record));
}

/* The reclaimer is there for this one act: between acts nothing foreign is in the program. */
static void reclaim_ring(struct watcher *w, struct watched *m, const struct ring_observation *seen,
			 const struct ring_decision *decision)
{
	const struct reclaim_limits limits = {.entries = RECLAIM_ALL, .bytes = decision->bytes};
	const uint64_t begin = now_us();
	json_t *record = reclaim_record(m, seen, decision);
	struct reclaimer reclaimer = RECLAIMER_NONE;
	struct reclaim_done done = {0};
	struct error error = {0};
	int rc = reclaimer_open(&reclaimer, &m->target, ACCESS_AUTO, NULL, NULL, &error);

	if (rc == 0)
		rc = reclaimer_run(&reclaimer, &limits, &done, &error);
	ring_number(record, "longest_stop_us", reclaimer.inject.longest_us);
	reclaimer_close(&reclaimer);
	ring_number(record, "time_us", now_us() - begin);
	if (done.entries)
		count_reclaimed(w, m, &done, decision, record);
	json_decref(record);
	if (rc == -ENOMSG)
		lose_ring(w, m, clock_now_ns());
	else if (rc < 0)
		note_failure(w, m, "reclaim", &error);
	else if (done.entries || is_claimed(&m->ring.view))
		m->failures = 0; /* the program may wait for what is claimed: it is tried again soon */
	if (rc == 0)
		m->late = 0;
	if (rc == 0 && !done.entries)
		postpone_retry(m, clock_now_ns()); /* it says that there is more than there is, or is cancelling */
}

static void tend_ring(struct watcher *w, struct watched *m, uint64_t now_ns)
{
	struct ring_observation seen = observe_ring(w, m, now_ns);
	struct error error = {0};
	struct ring_decision decision;
	int rc = sample_ring(w, m, now_ns, &seen);

	if (rc < 0) {
		error_set(&error, rc, rc == -ETIMEDOUT ? "somebody else has been holding its lock" : NULL, NULL,
			  "sample the reclaim ring of process %d", m->target.pid);
		note_failure(w, m, "sample", &error);
		return;
	}
	decision = ring_decide(&w->options->params, &seen);
	if (decision.why == RING_LEAVE) {
		m->told = decision;
		m->failures = m->late = 0;
	} else if (w->options->dry_run) {
		pretend_act(w, m, &seen, &decision);
	} else {
		reclaim_ring(w, m, &seen, &decision);
	}
}

void watch_relieve(struct watcher *w, struct watched *m, const struct cgroup_memory *memory, uint64_t bytes)
{
	const struct ring_decision decision = {RING_LIMIT, min_u64(bytes, ring_bytes(&m->ring.view))};
	const struct ring_observation seen = {
		.limit = memory->limit, .left = cgroup_memory_left(memory), .level = w->level};
	struct error error = {0};

	m->gone = m->gone || !target_alive(&m->target);
	if (m->gone)
		return;
	if (check_ring(m, &error) == 0)
		reclaim_ring(w, m, &seen, &decision);
	else
		postpone_retry(m, clock_now_ns()); /* the next look tells of it */
}

void watch_tend(struct watcher *w, struct watched *m, uint64_t now_ns)
{
	struct error error = {0};
	int rc;

	m->gone = m->gone || !target_alive(&m->target);
	if (m->gone || now_ns < m->retry_ns)
		return;
	if (m->ring.fd < 0) {
		find_again(w, m, now_ns);
		return;
	}
	rc = check_ring(m, &error);
	if (rc == 0)
		tend_ring(w, m, now_ns);
	else if (rc == -ENOENT)
		lose_ring(w, m, now_ns);
	else if (rc != -ESRCH) /* it is ending, or becoming another program: which, will show */
		note_failure(w, m, "look", &error);
}

void watch_leave(struct watcher *w, struct watched *m)
{
	if (m->ring.fd < 0 || w->options->dry_run || m->ring.view.shared->level == RING_NORMAL ||
	    ring_lock(m->ring.fd, LOCK_MS) < 0)
		return;
	m->ring.view.shared->level = RING_NORMAL;
	ring_unlock(m->ring.fd);
}
