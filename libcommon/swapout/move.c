/* SPDX-License-Identifier: MIT */
/* Pages out of the program's mappings into the staging area, on one of its own threads. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "edit/move_call.h"
#include "index/index.h"
#include "pager/cluster.h"
#include "pager/discards.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pager/target_fds.h"
#include "pages/pages.h"
#include "service/failpoint.h"
#include "swapout/out.h"
#include "swapout/staging.h"

#define HELD_US     400 /* a thread is let go after so long, and stopped again for the rest */
#define AGAIN_TRIES 200 /* while events are unread or the target has not run on */

/* What is left of the current slot. */
static struct region slot_rest(const struct out_job *job)
{
	struct region rest = staging_slot(job->pager, job->current->slot);

	rest.start += job->current->used;
	return rest;
}

/*
 * The slot empty, readable, and registered with the descriptor that is told of the target's changes: MOVE fails while
 * one is unread.
 */
static int64_t prepare_slot(struct out_job *job)
{
	struct pager *pager = job->pager;
	struct batch *batch = job->current;
	int64_t rc = 0;

	if (!pager->staging.open)
		rc = staging_open(pager);
	else if (batch->dirty)
		rc = staging_empty(pager, slot_rest(job), batch->executable);
	else if (!staging_holds(pager, slot_rest(job)))
		rc = -EADDRINUSE;
	failpoint("discarded");
	if (rc < 0)
		return rc;
	batch->executable = false;
	batch->dirty = true;
	return 0;
}

/* One attempt at moving a run of pages. */
struct attempt {
	struct region run;
	uint64_t staging; /* address where it goes */
	size_t first;     /* of its clusters in the batch */
	uint64_t moved;
};

static bool claimed_for_zero(const struct pager *pager, uint64_t address)
{
	for (size_t i = 0; i < ARRAY_SIZE(pager->faults.zeroing); i++)
		if (pager->faults.zeroing[i].address == address && pager->faults.zeroing[i].space == 0)
			return true;
	return false;
}

/* Whether a page may be moved: it has no entry, nobody is placing it, and the stopped thread can do without it. */
static enum skip page_obstacle(const struct pager *pager, struct region in_use, uint64_t address)
{
	if (index_get(pager->index, 0, address) != ENTRY_NONE)
		return SKIP_OUT;
	if (address >= in_use.start && address < in_use.end)
		return SKIP_IN_USE;
	if (region_vec_find(&pager->view.pins.pages, address))
		return SKIP_IN_USE;
	if (discard_pending(pager, address))
		return SKIP_BUSY;
	return claimed_for_zero(pager, address) ? SKIP_BUSY : SKIP_COUNT;
}

/*
 * The next run of movable pages of a piece, all inside one registered mapping; empty when there is none. `lock` held.
 */
static struct region next_run(struct out_job *job, const struct out_piece *piece, uint64_t *at, uint64_t room)
{
	struct pager *pager = job->pager;
	struct region in_use = access_in_use(&pager->access);
	const struct region *registered;
	struct region run;
	enum skip obstacle;

	while (*at < piece->region.end && (obstacle = page_obstacle(pager, in_use, *at)) != SKIP_COUNT) {
		piece->result->skipped[obstacle] += page_size();
		*at += page_size();
	}
	run = (struct region){*at, *at};
	while (run.end < piece->region.end && region_bytes(run) < room &&
	       page_obstacle(pager, in_use, run.end) == SKIP_COUNT)
		run.end += page_size();
	registered = region_vec_find(&pager->spaces[0].registered, *at);
	if (registered)
		return region_intersect(run, *registered);
	return (struct region){*at, *at};
}

static int batch_add(struct batch *batch, struct batch_cluster cluster)
{
	if (array_reserve(&batch->clusters, batch->count, &batch->size) < 0)
		return -ENOMEM;
	batch->clusters[batch->count++] = cluster;
	return 0;
}

/*
 * Entries of pages [from, …) of a cluster that did not move after all; they are where marking put them, for no event
 * was read since. `lock` held.
 */
static void unmark_pages(struct pager *pager, const struct batch_cluster *bc, unsigned int from)
{
	struct cluster *cluster = index_cluster(pager->index, bc->number);

	for (unsigned int i = from; i < cluster->pages; i++) {
		index_set(pager->index, 0, bc->source + i * page_size(), ENTRY_NONE);
		cluster->refs--;
	}
	cluster->pages = (uint8_t)from;
}

/* Makes one cluster of [address, address + pages), state moving, pinned for the batch. `lock` held. */
static int mark_cluster(struct pager *pager, struct batch *batch, struct batch_cluster bc)
{
	struct cluster *cluster;
	int rc = batch_add(batch, bc);

	if (rc < 0)
		return rc;
	bc.number = index_cluster_new(pager->index, bc.pages);
	if (!bc.number) {
		batch->count--;
		return -ENOSPC;
	}
	batch->clusters[batch->count - 1].number = bc.number;
	cluster = index_cluster(pager->index, bc.number);
	cluster->staging = bc.staging;
	cluster->source = bc.source;
	cluster->pins = 1;
	for (unsigned int i = 0; i < bc.pages; i++) {
		rc = index_set(pager->index, 0, bc.source + i * page_size(), entry_make(bc.number, i));
		if (rc < 0) {
			cluster->pages = (uint8_t)i;
			unmark_pages(pager, &bc, 0);
			cluster_unpin(pager, bc.number);
			batch->count--;
			return rc;
		}
		cluster->refs++;
	}
	return 0;
}

/*
 * Marks as much of the attempt's run as there is room for in the index; shortens it to that. Clusters keep to multiples
 * of their size. `lock` held.
 */
static int mark_run(struct out_job *job, const struct out_piece *piece, struct attempt *attempt)
{
	struct pager *pager = job->pager;
	uint64_t cluster_bytes = pager->cluster_pages * page_size();
	uint64_t at = attempt->run.start;
	int rc = 0;

	attempt->first = job->current->count;
	while (at < attempt->run.end) {
		uint64_t end = min_u64(round_down(at, cluster_bytes) + cluster_bytes, attempt->run.end);
		struct batch_cluster bc = {
			.result = piece->result,
			.source = at,
			.staging = attempt->staging + (at - attempt->run.start),
			.pages = (unsigned int)((end - at) / page_size()),
		};

		rc = mark_cluster(pager, job->current, bc);
		if (rc < 0)
			break;
		at = end;
	}
	attempt->run.end = at;
	return at == attempt->run.start ? rc : 0;
}

/* Takes back the marks of what the kernel left where it was. `lock` held. */
static void unmark_unmoved(struct out_job *job, const struct attempt *attempt)
{
	struct pager *pager = job->pager;
	struct batch *batch = job->current;
	size_t keep = attempt->first;

	for (size_t i = attempt->first; i < batch->count; i++) {
		struct batch_cluster *bc = &batch->clusters[i];
		uint64_t before = bc->source - attempt->run.start;
		uint64_t moved = attempt->moved > before ? (attempt->moved - before) / page_size() : 0;

		if (moved < bc->pages)
			unmark_pages(pager, bc, (unsigned int)moved);
		if (!moved) {
			cluster_unpin(pager, bc->number);
			continue;
		}
		bc->pages = (unsigned int)min_u64(moved, bc->pages);
		atomic_fetch_add(&bc->result->pending, 1);
		batch->clusters[keep++] = *bc;
	}
	batch->count = keep;
	pager->staging.unread |= keep > attempt->first;
}

/*
 * The ioctl itself; the thread stands at its entry. A target that did not answer in time may yet do what it was told;
 * without a registered destination it cannot any more (UFFDIO_MOVE: EINVAL).
 */
static int64_t call_move(struct pager *pager, struct attempt *attempt)
{
	const unsigned int told = failpoint_number("UVM_MOVE_TOLD", 0); /* pages */
	struct uffdio_move argument = {
		.dst = attempt->staging,
		.src = attempt->run.start,
		.len = region_bytes(attempt->run),
		.mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES | UFFDIO_MOVE_MODE_DONTWAKE,
	};
	int64_t rc = pager->access.ops->move.make(&pager->access, &argument);

	if (rc == -ETIMEDOUT) {
		uffd_unregister(pager->spaces[0].uffd, pager->staging.region);
		argument.move = 0;
	}
	if (rc == 0 && told && argument.len > told * page_size()) {
		argument.move = (int64_t)(told * page_size());
		rc = -EAGAIN;
	}
	if (rc != 0 && rc != -ESRCH && move_count(pager->view.pagemap_fd, &argument) < 0)
		rc = -ESRCH;
	attempt->moved = rc == 0 ? argument.len : argument.move > 0 ? (uint64_t)argument.move : 0;
	return rc;
}

/*
 * Moves the next run of a piece. The thread is taken to the entry of its call first: from there on it needs nothing
 * that fault service would have to give it, so holding `events` cannot deadlock. Returns 1 with the attempt, 0 when the
 * piece is done, -errno of the move with attempt->moved 0, or the error that prevented it.
 */
static int64_t attempt_move(struct out_job *job, const struct out_piece *piece, uint64_t *at, struct attempt *attempt)
{
	struct pager *pager = job->pager;
	struct space *space = &pager->spaces[0];
	int64_t rc = pager->access.ops->move.enter(&pager->access);

	*attempt = (struct attempt){.staging = slot_rest(job).start};
	if (rc < 0)
		return rc;
	pthread_rwlock_rdlock(&space->events);
	pthread_mutex_lock(&pager->lock);
	if (!space_registered(space, (struct region){*at, *at + page_size()})) {
		pthread_mutex_unlock(&pager->lock);
		rc = space_register(pager, space, *at);
		failpoint("registered");
		pthread_mutex_lock(&pager->lock);
	}
	if (rc == 0) {
		attempt->run = next_run(job, piece, at, region_bytes(slot_rest(job)));
		rc = region_bytes(attempt->run) ? mark_run(job, piece, attempt) : 1;
	}
	pthread_mutex_unlock(&pager->lock);
	failpoint("moving");
	if (rc == 0) {
		rc = call_move(pager, attempt);
		failpoint("moved");
		pthread_mutex_lock(&pager->lock);
		if (rc != -ESRCH)
			unmark_unmoved(job, attempt);
		else
			job->current->count = attempt->first; /* the address space dies, and its entries with it */
		pthread_mutex_unlock(&pager->lock);
		if (attempt->moved || rc == 0)
			rc = 1;
	} else if (pager->access.ops->move.cancel(&pager->access) < 0) {
		rc = -ESRCH;
	} else if (rc == 1) {
		rc = 0;
	}
	pthread_rwlock_unlock(&space->events);
	return rc;
}

static int64_t resolve_busy(struct out_job *job, const struct out_piece *piece, uint64_t *at, uint64_t *tried)
{
	struct pager *pager = job->pager;
	struct move_busy busy;
	int64_t rc = move_resolve_busy(&pager->access, pager->view.pagemap_fd, (struct region){*at, piece->region.end},
				       tried, &busy);

	if (rc < 0)
		return rc;
	piece->result->skipped[busy.shared ? SKIP_SHARED : SKIP_BUSY] += busy.stay;
	*at += busy.stay;
	return 0;
}

/* The rest of a piece stays. */
static void skip_rest(const struct out_piece *piece, uint64_t *at, enum skip reason)
{
	piece->result->skipped[reason] += piece->region.end - *at;
	*at = piece->region.end;
}

/* A program that locks all of its memory (mlockall) populates the slot, too. */
static int64_t empty_rest(const struct out_job *job)
{
	return staging_empty(job->pager, slot_rest(job), false);
}

/* Of the marks in a page table, guards and poison are refused (mm/userfaultfd.c, move_pages_pte). */
static int64_t step_over_marks(struct pager *pager, const struct out_piece *piece, uint64_t *at)
{
	uint64_t entries[MOVE_PAGES_A_LOOK];
	size_t count = min_u64(MOVE_PAGES_A_LOOK, (piece->region.end - *at) / page_size());
	size_t run = 0;
	int64_t rc = pagemap_read(pager->view.pagemap_fd, *at, count, entries);

	if (rc < 0)
		return rc;
	while (run < count && entries[run] & PAGEMAP_GUARD)
		run++;
	if (!run) /* what is not counted is not resident */
		piece->result->skipped[SKIP_POISONED] += page_size();
	*at += (run ? run : 1) * page_size();
	return 0;
}

/* What to do about a move that failed at *at. Returns 0 to go on, 1 to let the thread run for a moment, or -errno. */
static int64_t resolve_failed_move(struct out_job *job, const struct out_piece *piece, uint64_t *at, int64_t why,
				   uint64_t *tried, unsigned int *again)
{
	switch (why) {
	case -EBUSY:
		return resolve_busy(job, piece, at, tried);
	case -EAGAIN:
	case -EEXIST:
		if (++*again < AGAIN_TRIES)
			return why == -EAGAIN ? 1 : empty_rest(job);
		skip_rest(piece, at, SKIP_BUSY);
		return 0;
	case -EBADF:
	case -ENOTTY:
		return ++*again < AGAIN_TRIES ? target_fds_give_all(job->pager) : why;
	case -EFAULT:
		return step_over_marks(job->pager, piece, at);
	case -EINVAL:
	case -EPERM:
		if (region_bytes(slot_rest(job)) && !staging_holds(job->pager, slot_rest(job)))
			return -EADDRINUSE;
		skip_rest(piece, at, SKIP_CHANGED);
		return 0;
	case -ENOENT:
		skip_rest(piece, at, SKIP_NOT_MAPPED);
		return 0;
	case -ECANCELED: /* a thread of it is about to fork */
	case -ENOMEM:
		skip_rest(piece, at, SKIP_BUSY);
		return 0;
	default:
		return why;
	}
}

/*
 * Another short stop: a thread must not be kept for long, and the target must run on for its events to be read. A
 * thread that waits in fork(2) for what is unread could not be stopped.
 */
static int64_t stop_again(struct out_job *job, bool pause, struct error *error)
{
	struct pager *pager = job->pager;
	int64_t rc = pager->access.ops->calls.end(&pager->access);

	if (rc == 0)
		rc = out_read(job);
	if (rc == 0 && pause)
		usleep(BACK_OFF_US);
	return rc == 0 ? target_fds_begin(pager, error) : rc;
}

/* The thread is given back for a moment when it has been kept for longer than it should. */
static int64_t keep_short(struct out_job *job, struct error *error)
{
	const struct access *access = &job->pager->access;

	return access_held_us(access) > HELD_US ? stop_again(job, false, error) : 0;
}

static int64_t move_piece(struct out_job *job, const struct out_piece *piece, struct error *error)
{
	struct pager *pager = job->pager;
	struct batch *batch = job->current;
	uint64_t at = piece->region.start;
	uint64_t tried = UINT64_MAX;
	unsigned int again = 0;
	int64_t rc = 0;

	if (piece->executable) {
		batch->executable = true;
		rc = pager->access.ops->area.protect(&pager->access, staging_slot_whole(pager, batch->slot),
						     PROT_READ | PROT_WRITE | PROT_EXEC);
		if (rc == -EACCES) { /* PR_SET_MDWE(2const) */
			skip_rest(piece, &at, SKIP_EXECUTES);
			return 0;
		}
	}
	while (rc == 0 && at < piece->region.end && region_bytes(slot_rest(job))) {
		struct attempt attempt;
		bool pause = false;

		rc = attempt_move(job, piece, &at, &attempt);
		if (rc == 1) {
			at += attempt.moved;
			batch->used += attempt.moved;
			rc = 0;
		} else if (rc < 0) {
			rc = resolve_failed_move(job, piece, &at, rc, &tried, &again);
			pause = rc == 1;
			rc = pause ? 0 : rc;
		}
		if (rc == 0)
			rc = pause ? stop_again(job, true, error) : keep_short(job, error);
	}
	if (rc == 0 && at < piece->region.end)
		skip_rest(piece, &at, SKIP_BUSY);
	return rc;
}

/* Room in the index for what this stop marks, before anybody is stopped for it. */
static int reserve_index(const struct out_job *job)
{
	struct pager *pager = job->pager;
	struct index_growth growth;
	uint64_t clusters = 0;
	int rc;

	/* A piece lies in one superpage, and so in one table; it may begin and end within a cluster. */
	for (unsigned int i = 0; i < job->plan.count; i++)
		clusters += region_bytes(job->plan.pieces[i].region) / page_size() / pager->cluster_pages + 2;
	pthread_mutex_lock(&pager->lock);
	growth = index_plan(pager->index, job->plan.count, clusters);
	pthread_mutex_unlock(&pager->lock);
	rc = index_allocate(pager->index, &growth);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&pager->lock);
	index_commit(pager->index, &growth);
	pthread_mutex_unlock(&pager->lock);
	return 0;
}

int out_move(struct out_job *job, struct error *error)
{
	struct pager *pager = job->pager;
	int64_t rc = reserve_index(job);

	if (rc < 0)
		return error_set(error, (int)rc, NULL, "make room in the directory of sessions",
				 "extend the index of process %d", pager->target.pid);
	discards_quiesce(pager);
	out_run_on(job, access_processor(&pager->access));
	rc = target_fds_begin(pager, error);
	if (rc < 0)
		return (int)rc;
	rc = prepare_slot(job);
	if (rc == 0)
		rc = keep_short(job, error);
	for (unsigned int i = 0; rc == 0 && i < job->plan.count; i++) {
		struct out_piece *piece = &job->plan.pieces[i];

		/* A whole superpage in its place moves as one huge page. */
		if (region_bytes(piece->region) == 2 * MiB && job->current->used % (2 * MiB))
			job->current->used += min_u64(round_up(job->current->used, 2 * MiB) - job->current->used,
						      region_bytes(slot_rest(job)));
		rc = move_piece(job, piece, error);
	}
	if (pager->access.ops->calls.end(&pager->access) < 0)
		rc = -ESRCH;
	if (rc < 0 && (!error->code || rc == -ESRCH))
		staging_explain(pager, (int)rc, "move aside pages of", error);
	return (int)rc;
}
