/* SPDX-License-Identifier: MIT */
/* A reclaimer outside: the lock, the way in, what one that was killed left behind, turns. */
#include "reclaim/reclaimer.h"
#include "access/in_child.h"
#include "access/quiesce.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "reclaim/reclaim_parts.h"

#define LOCK_MS      2000   /* for another reclaimer to be done */
#define QUIESCE_MS   5000   /* for a thread that has to get a processor first */
#define AGENT_US     20000  /* for which its agent is asked without a break; no thread of the program stands still */
#define EMPTY_US     200000 /* for a program to have taken back what it is taking back: it may wait for a processor */
#define PAUSE_US     200    /* between two stops: the program's, and another reclaimer's, turn */
#define PAUSE_MAX_US 10000  /* while it is taking something back */

/* How far a run has come. */
struct run {
	struct reclaimer *reclaimer;
	struct reclaim_limits left;
	uint64_t ids;      /* that are claimed at most, holes too: a ring that lies must not keep us for ever */
	uint64_t began_us; /* this turn */
	struct reclaim_done *done;
	struct error *error;
};

static struct ring_shared *shared_of(const struct reclaimer *reclaimer)
{
	return reclaimer->ring.view.shared;
}

int reclaimer_open(struct reclaimer *reclaimer, const struct target *target, enum access_method access, reclaim_fn each,
		   void *context, struct error *error)
{
	*reclaimer = RECLAIMER_NONE;
	reclaimer->access = access;
	reclaimer->target = target;
	reclaimer->each = each;
	reclaimer->context = context;
	return ring_find(target, true, &reclaimer->ring, error);
}

static int lock_ring(const struct reclaimer *reclaimer, struct error *error)
{
	int rc = ring_lock(reclaimer->ring.fd, LOCK_MS);

	if (rc == 0)
		return 0;
	return error_set(error, rc, rc == -ETIMEDOUT ? "another reclaimer has been at it for too long" : NULL,
			 rc == -ETIMEDOUT ? "see who it is: lslocks; then try again" : NULL,
			 "lock the reclaim ring of process %d", reclaimer->target->pid);
}

/*
 * One that was killed may have sent a thread to a call that it has not made yet: were its batch redone and the memory
 * used again before that, the call would destroy what is in it. Then its control area is ours, or goes.
 */
static int clear_up(struct reclaimer *reclaimer, struct error *error)
{
	uint64_t area = shared_of(reclaimer)->caller, deadline = now_us() + RECLAIM_TRACER_US;
	struct inject left;
	int rc;

	if (!area)
		return 0;
	do
		rc = inject_inherit(&left, reclaimer->target, area, QUIESCE_MS, error);
	while (reclaimer_traced_for_now(rc, deadline));
	if (rc < 0 && rc != -ENOENT && rc != -EINPROGRESS)
		return rc;
	if (rc == 0 && !reclaimer->injecting && reclaimer->access != ACCESS_AGENT) {
		reclaimer->inject = left;
		reclaimer->injecting = true;
	} else if (rc == 0) {
		inject_close_in_child(&left);
	}
	shared_of(reclaimer)->caller = 0;
	error->code = 0;
	return 0;
}

/* From here on the next reclaimer finds it. */
static void note_area(void *context, struct region area)
{
	struct ring_shared *shared = context;

	shared->caller = area.start;
}

static int enter_by_inject(struct reclaimer *reclaimer, struct error *error)
{
	uint64_t deadline = now_us() + RECLAIM_TRACER_US;
	int rc = reclaimer->injecting ? 0 : access_traces(reclaimer->target, "reclaim in", error);

	while (rc == 0 && !reclaimer->injecting) {
		rc = inject_open_in_child(&reclaimer->inject, reclaimer->target, note_area, shared_of(reclaimer),
					  error);
		reclaimer->injecting = rc == 0;
		if (reclaimer_traced_for_now(rc, deadline))
			rc = 0;
	}
	if (rc < 0)
		return rc;
	error->code = 0;
	reclaimer->access = ACCESS_PTRACE;
	return 0;
}

static int enter_program(struct reclaimer *reclaimer, struct error *error)
{
	struct error inject = {0};
	struct error agent = {0};
	int rc = clear_up(reclaimer, error);

	if (rc < 0)
		return rc;
	if (reclaimer->access == ACCESS_AGENT)
		return reclaimer_join(reclaimer, error);
	rc = enter_by_inject(reclaimer, &inject);
	if (reclaimer->access != ACCESS_AUTO || (rc != -EPERM && rc != -EACCES && rc != -EBUSY)) {
		*error = inject;
		return rc;
	}
	if (reclaimer_join(reclaimer, &agent) < 0)
		return access_neither(&inject, &agent, error);
	reclaimer->access = ACCESS_AGENT;
	return 0;
}

static bool is_enough(const struct run *run)
{
	return !run->left.entries || !run->left.bytes || !run->ids;
}

static bool is_long(const struct run *run)
{
	if (run->reclaimer->access == ACCESS_AGENT)
		return now_us() - run->began_us > AGENT_US;
	return inject_held_us(&run->reclaimer->inject) >= RECLAIM_HOLD_US;
}

/* A thread is held, or the agent listens. Returns 1 when there may be more, 0 when not, or -errno. */
static int claim_some(struct run *run)
{
	struct reclaimer *reclaimer = run->reclaimer;
	const struct ring_view *view = &reclaimer->ring.view;
	struct ring_batch batch;

	do {
		struct reclaim_done before = *run->done;
		int rc = ring_claim(view, ring_claim_size(view, run->left.entries, run->left.bytes), &batch);

		if (rc == -EBADMSG)
			return error_set(run->error, rc, "its indices or capacity make no sense any more",
					 "leave it alone: a ring that lies is an error in that program",
					 "reclaim in process %d", reclaimer->target->pid);
		if (rc <= 0)
			return rc;
		rc = reclaimer_batch(reclaimer, &batch, run->done, run->error);
		if (rc < 0)
			return rc;
		run->ids -= min_u64(run->ids, batch.end - batch.head);
		run->left.entries -= min_u64(run->left.entries, run->done->entries - before.entries);
		if (run->left.bytes != RECLAIM_ALL)
			run->left.bytes -= min_u64(run->left.bytes, run->done->bytes - before.bytes);
	} while (!is_enough(run) && !is_long(run));
	return 1;
}

/* Under the lock, one stop. */
static int take_turn(struct run *run)
{
	struct reclaimer *reclaimer = run->reclaimer;
	struct ring_shared *shared = shared_of(reclaimer);
	int rc;

	if (shared->head == shared->tail && shared->busy == shared->head)
		return 0;
	rc = enter_program(reclaimer, run->error);
	if (rc < 0)
		return rc;
	run->began_us = now_us();
	shared->caller = reclaimer->inject.area.start;
	rc = reclaimer_hold(reclaimer, run->error);
	if (rc == 0) {
		rc = claim_some(run);
		reclaimer_let_go(reclaimer);
	}
	shared->caller = 0;
	reclaimer_part(reclaimer);
	return rc;
}

/* What the agent may yet do is done under this lock: then it ends with the last descriptor, not before. */
static void unlock_ring(const struct reclaimer *reclaimer)
{
	if (!reclaimer->unanswered)
		ring_unlock(reclaimer->ring.fd);
}

static bool is_empty(const struct reclaimer *reclaimer)
{
	return shared_of(reclaimer)->head == shared_of(reclaimer)->tail && !ring_entries(&reclaimer->ring.view);
}

static int take_turns(struct run *run)
{
	struct reclaimer *reclaimer = run->reclaimer;
	uint64_t progress = now_us(), pause = PAUSE_US;

	while (!is_enough(run) && !is_empty(reclaimer)) {
		int rc = lock_ring(reclaimer, run->error);

		if (rc < 0)
			return rc;
		rc = take_turn(run);
		unlock_ring(reclaimer);
		if (rc < 0)
			return rc;
		if (rc == 0 && now_us() - progress > EMPTY_US)
			return 0;
		if (rc > 0)
			progress = now_us();
		pause = rc > 0 ? PAUSE_US : min_u64(2 * pause, PAUSE_MAX_US);
		usleep((useconds_t)pause);
	}
	return 0;
}

int reclaimer_run(struct reclaimer *reclaimer, const struct reclaim_limits *limits, struct reclaim_done *done,
		  struct error *error)
{
	struct run run = {.reclaimer = reclaimer, .left = *limits, .done = done, .error = error};
	struct ring_shared *shared = shared_of(reclaimer);
	uint64_t waiting = shared->tail - shared->head;

	run.ids = 2 * (uint64_t)reclaimer->ring.view.max_capacity;
	waiting = min_u64(max_u64(waiting, ring_entries(&reclaimer->ring.view)), reclaimer->ring.view.max_capacity);
	run.left.entries = min_u64(run.left.entries, waiting);
	return take_turns(&run);
}

void reclaimer_close(struct reclaimer *reclaimer)
{
	struct error ignored = {0};
	int locked;

	if (reclaimer->injecting) {
		locked = lock_ring(reclaimer, &ignored);
		if (locked == 0)
			shared_of(reclaimer)->caller = reclaimer->inject.area.start;
		inject_close_in_child(&reclaimer->inject);
		if (locked == 0) {
			shared_of(reclaimer)->caller = 0;
			ring_unlock(reclaimer->ring.fd);
		}
	}
	ring_release(&reclaimer->ring);
	*reclaimer = RECLAIMER_NONE;
}
