/* SPDX-License-Identifier: MIT */
/*
 * The move itself, in short stops of what makes the calls: one call after the other until the piece is done, or the
 * time of the stop is over.
 */
#include "edit/move.h"
#include "proc/refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "edit/move_call.h"
#include "edit/move_parts.h"
#include "pages/pages.h"
#include "puppet/fd.h"
#include "uffd/uffd.h"

#define HELD_US          400    /* a thread is let go after so long, and stopped again for the rest */
#define HELD_LONG_US     1000   /* in pieces so large that stopping anew costs a tenth of the time */
#define HELD_PUPPET_US   100000 /* of a puppet, for which nobody waits */
#define LARGE_PIECE      (256 * MiB)
#define CALL_US          20 /* about what a call costs beside the moving */
#define WORTH_US         60 /* what is left of a stop, for another call */
#define CALL_LEAST       (2 * MiB)
#define CALL_FIRST       (4 * MiB)
#define CALL_MOST        (64 * MiB)
#define CALL_PUPPET_MOST (256 * MiB)
#define CALL_PUPPET_US   2000
#define REMAP_BYTES      (256 * MiB) /* page tables move, not pages */
#define AGAIN_TRIES      100         /* while the kernel says to try again */
#define BACK_OFF_US      1000
#define BREATH_US        50 /* between stops of a thread that only runs while we sleep */
#define POPULATED        (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)
#define REMAP_ANON       (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* Where a piece is being moved. */
struct step {
	struct mover *mover;
	struct move_job *job;
	const struct move_piece *piece;
	uint64_t at;    /* of the source */
	uint64_t held;  /* microseconds after which a thread is let go */
	uint64_t speed; /* bytes a microsecond of the last call, 0 before the first */
	uint64_t tried; /* where pages were made exclusive last */
	unsigned int again;
	struct region_vec *done; /* of the destination */
};

static uint64_t step_end(const struct step *step)
{
	return step->piece->source + step->piece->bytes;
}

static uint64_t step_destination(const struct step *step)
{
	return step->piece->destination + (step->at - step->piece->source);
}

/* The next bytes stay where they are. */
static int pass_over(struct step *step, uint64_t bytes, int code, const char *rule)
{
	int rc = move_fail(step->job, region_at(step->at, bytes), step_destination(step), code, rule);

	step->at += bytes;
	step->again = 0;
	return rc;
}

static int have_moved(struct step *step, uint64_t bytes)
{
	uint64_t start = step_destination(step);

	step->at += bytes;
	if (!bytes)
		return 0;
	step->again = 0;
	return region_vec_append(step->done, region_at(start, bytes));
}

/* One UFFDIO_MOVE. Returns what the ioctl did; *moved counts in any case. */
static int64_t call_move(struct step *step, uint64_t bytes, uint64_t *moved)
{
	struct mover *mover = step->mover;
	struct uffdio_move argument = {
		.dst = step_destination(step),
		.src = step->at,
		.len = bytes,
		.mode = (step->job->allow_holes ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0) |
			(step->job->dont_wake ? UFFDIO_MOVE_MODE_DONTWAKE : 0),
	};
	int64_t rc = mover->access.ops->move.make(&mover->access, &argument);

	step->job->calls++;
	if (rc == -EAGAIN && move_count(mover->pagemap_fd, &argument) < 0)
		rc = -ESRCH;
	*moved = rc == 0 ? bytes : rc != -ESRCH && argument.move > 0 ? (uint64_t)argument.move : 0;
	return rc;
}

static int64_t overcome_busy(struct step *step)
{
	struct mover *mover = step->mover;
	struct move_busy busy;
	int64_t rc = move_resolve_busy(&mover->access, mover->pagemap_fd, (struct region){step->at, step_end(step)},
				       step->job->make_exclusive ? &step->tried : NULL, &busy);

	return rc < 0 || !busy.stay ? rc : pass_over(step, busy.stay, -EBUSY, NULL);
}

/* What pagemap says to an ENOENT or EEXIST: how many pages it is true of. */
static int64_t overcome_pages(struct step *step, int code)
{
	bool hole = code == -ENOENT;
	uint64_t address = hole ? step->at : step_destination(step);
	uint64_t left = step_end(step) - step->at, run = 0;
	int64_t rc = move_run_of(step->mover, address, address + left, hole ? POPULATED : PAGEMAP_PRESENT,
				 hole ? 0 : PAGEMAP_PRESENT, &run);

	if (rc < 0)
		return rc;
	if (!run && !hole)
		rc = move_run_of(step->mover, address, address + left, POPULATED, PAGEMAP_SWAPPED, &run);
	if (!rc && !run && ++step->again < AGAIN_TRIES)
		return 1;
	if (hole)
		step->job->holes += max_u64(run, page_size());
	return rc < 0 ? rc : pass_over(step, max_u64(run, page_size()), code, NULL);
}

/* The kernel counts pages for the answer, which takes longer than a thread should be kept. */
static int64_t overcome_invalid(struct step *step)
{
	uint64_t left = step_end(step) - step->at;
	struct move_piece now = {0};
	int64_t rc = step->mover->access.ops->calls.end(&step->mover->access);

	if (rc == 0)
		rc = move_piece_at(step->mover, step->at, step_destination(step), left, &now);
	if (rc < 0)
		return rc;
	return pass_over(step, now.bytes, -EINVAL, now.rule ? now.rule : move_hidden_rule(step->mover, &now));
}

/* What to do about a call that moved nothing. Returns 0 to go on, 1 to let the thread run for a moment, or -errno. */
static int64_t overcome_failure(struct step *step, int64_t why)
{
	switch (why) {
	case -EBUSY:
		return overcome_busy(step);
	case -EAGAIN:
		return ++step->again < AGAIN_TRIES ? 1 : pass_over(step, page_size(), -EAGAIN, NULL);
	case -ENOENT:
	case -EEXIST:
		return overcome_pages(step, (int)why);
	case -EINVAL:
		return overcome_invalid(step);
	case -ESRCH:
	case -ETIMEDOUT:
		return why;
	case -ENOMEM:
		return pass_over(step, step_end(step) - step->at, -ENOMEM, NULL);
	default:
		return pass_over(step, page_size(), (int)why, NULL);
	}
}

static uint64_t time_left(const struct step *step)
{
	uint64_t held = access_held_us(&step->mover->access);

	return held < step->held ? step->held - held : 0;
}

/*
 * What nearly all the rest of the stop has time for, or a puppet's call, which keeps the program from mapping memory;
 * no more than so much, because where huge pages end the small ones are much slower.
 */
static uint64_t call_bytes(const struct step *step)
{
	bool puppet = step->mover->access.puppet.self.pid;
	uint64_t left = min_u64(time_left(step), puppet ? CALL_PUPPET_US : UINT64_MAX);
	uint64_t most = puppet ? CALL_PUPPET_MOST : CALL_MOST;
	uint64_t bytes = left > CALL_US ? round_down(step->speed * (left - CALL_US) / 10 * 9, CALL_LEAST) : 0;

	bytes = step->speed ? max_u64(min_u64(bytes, most), CALL_LEAST) : CALL_FIRST;
	return min_u64(bytes - step->at % CALL_LEAST, step_end(step) - step->at);
}

/* Bytes a microsecond, of a call that moved something. */
static uint64_t speed_of(uint64_t bytes, uint64_t us)
{
	return max_u64(bytes / (us > CALL_US ? us - CALL_US : 1), 1);
}

/* The first pages of a region that must stay; empty when there are none. */
static struct region first_pinned(const struct mover *mover, struct region region)
{
	const struct region_vec *pages = &mover->pins.pages;
	struct region first = region_intersect(region, inject_rseq_pages(&mover->access.inject));

	for (size_t i = 0; i < pages->count; i++) {
		struct region pinned = region_intersect(region, pages->items[i]);

		if (region_bytes(pinned) && (!region_bytes(first) || pinned.start < first.start))
			first = pinned;
	}
	return first;
}

/*
 * The kernel writes to the rseq area of a thread whenever it goes on: that page would be there again at once, and
 * empty. Returns the bytes of the next call, 0 for none yet, or -errno.
 */
static int64_t spare_pinned(struct step *step, uint64_t bytes)
{
	struct region pinned = first_pinned(step->mover, region_at(step->at, bytes));

	if (!region_bytes(pinned))
		return (int64_t)bytes;
	if (pinned.start > step->at)
		return (int64_t)(pinned.start - step->at);
	return pass_over(step, region_bytes(pinned), -EBUSY, "the kernel needs them where they are, for a thread");
}

static int64_t move_once(struct step *step)
{
	struct access *access = &step->mover->access;
	int64_t bytes = spare_pinned(step, call_bytes(step)), rc;
	uint64_t begun = now_us(), moved = 0;

	if (bytes <= 0)
		return bytes;
	rc = access->ops->move.enter(access);
	if (rc < 0)
		return rc;
	rc = call_move(step, (uint64_t)bytes, &moved);
	if (moved) {
		step->speed = speed_of(moved, now_us() - begun);
		return have_moved(step, moved);
	}
	return rc == 0 ? 0 : overcome_failure(step, rc);
}

/* mremap(2) moves whatever is there, holes included, and replaces the destination: only where nothing is. */
static int64_t remap_once(struct step *step)
{
	int64_t rc = spare_pinned(step, min_u64(REMAP_BYTES, step_end(step) - step->at));
	uint64_t bytes = (uint64_t)rc, to = step_destination(step), there = 0;

	if (rc <= 0)
		return rc;
	rc = move_populated(step->mover, region_at(to, bytes), &there);
	if (rc == 0 && there)
		rc = move_run_of(step->mover, to, to + bytes, POPULATED, 0, &bytes);
	if (rc < 0 || !bytes)
		return rc < 0 ? rc : overcome_pages(step, -EEXIST);
	rc = inject_call(access_injector(&step->mover->access), SYS_mremap, step->at, bytes, bytes, REMAP_ANON, to, 0);
	step->job->calls++;
	if (rc == (int64_t)to)
		return have_moved(step, bytes);
	return rc == -EAGAIN || rc == -ESRCH || rc == -ETIMEDOUT ? rc : pass_over(step, bytes, (int)rc, NULL);
}

/* Another short stop: a thread must not be kept for long. */
static int64_t stop_again(struct access *access, bool pause, struct error *error)
{
	int64_t rc = access->ops->calls.end(access);

	if (rc == 0 && (pause || access_injector(access)->shares))
		usleep(pause ? BACK_OFF_US : BREATH_US);
	return rc == 0 ? access->ops->calls.begin(access, error) : rc;
}

static bool is_interrupted(const struct mover *mover)
{
	return mover->interrupted && *mover->interrupted;
}

static int64_t move_steps(struct step *step, struct error *error)
{
	struct mover *mover = step->mover;
	struct access *access = &mover->access;
	int64_t rc = access->ops->calls.begin(access, error);

	while (rc == 0 && step->at < step_end(step)) {
		if (is_interrupted(mover)) {
			rc = pass_over(step, step_end(step) - step->at, -EINTR, NULL);
			break;
		}
		rc = mover->method == MOVE_UFFD ? move_once(step) : remap_once(step);
		if (rc >= 0 && step->at < step_end(step) &&
		    (rc || !access_injector(access)->tid || time_left(step) < WORTH_US))
			rc = stop_again(access, rc == 1, error);
		else if (rc > 0)
			rc = 0;
	}
	if (access->ops->calls.end(access) < 0 && rc == 0)
		rc = -ESRCH;
	return rc;
}

/*
 * For UFFDIO_MOVE the destination only has to be registered. For write protection, of which no page has any, no
 * thread ever waits for an answer; for missing pages, where the kernel has no other mode, a thread that touches one
 * before it comes waits until the piece is done.
 */
static int register_destination(const struct mover *mover, struct region region)
{
	int rc = uffd_register(mover->uffd, region, UFFDIO_REGISTER_MODE_WP, NULL);

	return rc == -EINVAL ? uffd_register_missing(mover->uffd, region) : rc;
}

/*
 * Leaving write protection costs a scan of every page (fs/userfaultfd.c, userfaultfd_clear_vma), leaving missing pages
 * nothing: so it becomes one of those for the moment between two calls.
 */
static void unregister_destination(const struct mover *mover, struct region region)
{
	uffd_register_missing(mover->uffd, region);
	uffd_unregister(mover->uffd, region);
}

static uint64_t hold_time(const struct mover *mover, const struct move_piece *piece)
{
	if (mover->access.puppet.self.pid)
		return HELD_PUPPET_US;
	return piece->bytes < LARGE_PIECE ? HELD_US : HELD_LONG_US;
}

static int64_t move_piece(struct mover *mover, struct move_job *job, const struct move_piece *piece,
			  struct region_vec *done, struct error *error)
{
	struct step step = {.mover = mover,
			    .job = job,
			    .piece = piece,
			    .at = piece->source,
			    .held = hold_time(mover, piece),
			    .tried = UINT64_MAX,
			    .done = done};
	struct region to = {piece->destination, piece->destination + piece->bytes};
	int64_t rc = mover->method == MOVE_UFFD ? register_destination(mover, to) : 0;

	if (rc == -EBUSY)
		return pass_over(&step, piece->bytes, -EINVAL,
				 "the destination is registered with another userfaultfd");
	if (rc < 0)
		return target_alive(mover->target) ? pass_over(&step, piece->bytes, (int)rc, NULL) : -ESRCH;
	rc = move_steps(&step, error);
	if (mover->method == MOVE_UFFD)
		unregister_destination(mover, to);
	return rc;
}

/* We go to the processor of the thread that we stop: what is woken there runs at once. */
static void join_processor(struct mover *mover)
{
	int processor = access_processor(&mover->access);
	cpu_set_t one;

	mover->bound = processor >= 0 && processor < CPU_SETSIZE &&
		       sched_getaffinity(0, sizeof(mover->processors), &mover->processors) == 0 &&
		       CPU_ISSET(processor, &mover->processors);
	if (!mover->bound)
		return;
	CPU_ZERO(&one);
	CPU_SET(processor, &one);
	mover->bound = sched_setaffinity(0, sizeof(one), &one) == 0;
}

static void leave_processor(struct mover *mover)
{
	if (mover->bound)
		sched_setaffinity(0, sizeof(mover->processors), &mover->processors);
	mover->bound = false;
}

static int64_t move_pieces(struct mover *mover, struct move_job *job, struct region_vec *done, struct error *error)
{
	struct move_piece piece = {0};
	int64_t rc = 0;

	for (uint64_t at = 0; rc == 0 && at < job->bytes; at += piece.bytes) {
		if (is_interrupted(mover))
			return move_fail(job, (struct region){job->source + at, job->source + job->bytes},
					 job->destination ? job->destination + at : 0, -EINTR, NULL);
		rc = move_piece_at(mover, job->source + at, job->destination + at, job->bytes - at, &piece);
		if (rc == 0 && piece.rule)
			rc = move_fail(job, region_at(piece.source, piece.bytes), piece.destination, -EINVAL,
				       piece.rule);
		else if (rc == 0)
			rc = move_piece(mover, job, &piece, done, error);
	}
	return rc;
}

/* A call that allows holes counts them as moved: what really came is counted where it went. */
static void count_moved(const struct mover *mover, struct move_job *job, const struct region_vec *done)
{
	bool holes = job->allow_holes || mover->method == MOVE_MREMAP;

	for (size_t i = 0; i < done->count; i++) {
		uint64_t bytes = region_bytes(done->items[i]), populated = bytes;

		if (holes && move_populated(mover, done->items[i], &populated) < 0)
			populated = bytes;
		job->moved += populated;
		job->holes += bytes - populated;
	}
}

/* A puppet that was killed is no end of its program. */
static int explain_move(const struct mover *mover, int rc, struct error *error)
{
	if (!target_alive(mover->target))
		rc = -ESRCH;
	else if (rc == -ESRCH)
		return error_set(error, -EIO, "the process that moves them there was ended", "see who does that",
				 "move pages of process %d", mover->target->pid);
	if (error->code && rc != -ESRCH)
		return rc;
	return error_set(error, rc, rc == -ESRCH ? "the process has ended" : NULL, NULL, "move pages of process %d",
			 mover->target->pid);
}

int mover_run(struct mover *mover, struct move_job *job, struct error *error)
{
	_cleanup_regions_ struct region_vec done = {0};
	uint64_t begun;
	int64_t rc;

	mover->access.inject.longest_us = 0;
	rc = pins_scan(&mover->pins, &mover->access, true, error);
	if (rc < 0 && rc != -EOPNOTSUPP)
		return (int)rc;
	join_processor(mover);
	begun = now_us();
	rc = move_pieces(mover, job, &done, error);
	leave_processor(mover);
	job->time_us += now_us() - begun;
	job->longest_stop_us = max_u64(job->longest_stop_us, mover->access.inject.longest_us);
	count_moved(mover, job, &done);
	return rc < 0 ? explain_move(mover, (int)rc, error) : 0;
}

/* Tried on a page of our own. */
static bool kernel_remaps(void)
{
	size_t bytes = page_size();
	void *from = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *to;

	if (from == MAP_FAILED)
		return false;
	to = mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (to != MAP_FAILED)
		munmap(to, bytes);
	munmap(from, bytes);
	return to != MAP_FAILED;
}

/* It has the userfaultfd, which so is in no descriptor table of the program, and of none of its children. */
static int make_puppet(struct mover *mover, struct error *error)
{
	struct puppet *puppet = &mover->access.puppet;

	mover->self = pidfd_of(getpid());
	if (mover->self < 0)
		return error_set(error, mover->self, NULL, NULL, "open this process");
	*puppet = PUPPET_UNTIL(TARGET_MOVE_PUPPET, mover->self);
	return puppet_make(puppet, &mover->access.inject, error);
}

static int open_method(struct mover *mover, struct error *error)
{
	int rc;

	if (mover->method == MOVE_MREMAP)
		return kernel_remaps()
			       ? 0
			       : error_set(error, -EOPNOTSUPP, "this kernel has no MREMAP_DONTUNMAP (Linux 5.7)", NULL,
					   "move pages of process %d", mover->target->pid);
	rc = make_puppet(mover, error);
	if (rc < 0)
		return rc;
	mover->uffd = inject_userfaultfd(access_injector(&mover->access), true, &mover->access.number, error);
	if (mover->uffd < 0)
		return mover->uffd;
	rc = uffd_handshake(mover->uffd, UFFD_FEATURE_MOVE);
	if (rc == -EOPNOTSUPP)
		return error_set(error, rc, "this kernel has no UFFDIO_MOVE (Linux 6.8)", "use --method mremap",
				 "move pages of process %d", mover->target->pid);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "prepare a userfaultfd of process %d", mover->target->pid) : 0;
}

static int open_views(struct mover *mover, struct error *error)
{
	mover->pagemap_fd = target_proc_open(mover->target, "pagemap", O_RDONLY);
	mover->maps_fd = mover->pagemap_fd < 0 ? mover->pagemap_fd : target_proc_open(mover->target, "maps", O_RDONLY);
	return mover->maps_fd >= 0 ? 0 : refusal_to_look(mover->target, mover->maps_fd, "look at the memory of", error);
}

int mover_open(struct mover *mover, const struct target *target, enum move_method method, bool dry_run,
	       struct error *error)
{
	int rc;

	*mover = MOVER_NONE;
	mover->target = target;
	mover->method = method;
	mover->access = ACCESS_BY(ACCESS_PTRACE);
	mover->access.ops = &target_by_ptrace;
	mover->access.target = target;
	rc = open_views(mover, error);
	if (rc == 0 && !dry_run)
		rc = inject_open(&mover->access.inject, target, error);
	if (rc == 0 && !dry_run) {
		mover->injecting = true;
		rc = open_method(mover, error);
	}
	if (rc < 0)
		mover_close(mover);
	return rc;
}

/* The puppet takes the control area along, and itself. */
static int leave_program(struct mover *mover)
{
	struct access *access = &mover->access;
	struct error ignored = {0};
	int rc = access->puppet.own.end ? puppet_end(&access->puppet, &access->inject, &ignored) : -ENOENT;

	puppet_abandon(&access->puppet);
	if (rc < 0) {
		int closed = inject_close(&access->inject);

		return rc == -ENOENT || rc == -ESRCH ? closed : rc;
	}
	inject_abandon(&access->inject);
	return rc;
}

int mover_close(struct mover *mover)
{
	int rc = mover->injecting ? leave_program(mover) : 0;

	cleanup_close(&mover->uffd);
	cleanup_close(&mover->pagemap_fd);
	cleanup_close(&mover->maps_fd);
	cleanup_close(&mover->self);
	pins_free(&mover->pins);
	*mover = MOVER_NONE;
	return rc;
}
