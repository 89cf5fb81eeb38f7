/* SPDX-License-Identifier: MIT */
/* Telling a client which pages that are out are touched, while it happens. */

#include "swapout/watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "index/index.h"
#include "pager/pager.h"
#include "swapin/touch_ring.h"
#include "swapout/swapout.h"
#include "swapout/watch_find.h"

#define EMIT_AT_ONCE 2048
#define EMIT_MS      20
#define FIND_MS      200 /* between two looks for memory that was not there before */

struct watch {
	struct pager *pager;
	const struct watch_request *request;
	uint64_t started_ns;
	struct region_vec regions; /* what has been moved out, or was found not to be eligible */
	struct touch_ring ring;
};

/* When it began, and for how long the target has waited for pages by now; before it began too, which is to be
 * subtracted. */
static void emit_state(struct watch *watch)
{
	uint64_t waited_ns;

	pthread_mutex_lock(&watch->pager->lock);
	waited_ns = index_header(watch->pager->index)->session.counters.fault_wait_ns;
	pthread_mutex_unlock(&watch->pager->lock);
	watch->request->emit(watch->request->context,
			     json_pack("{s:s,s:I,s:I}", "type", "watching", "started_ns", (json_int_t)watch->started_ns,
				       "waited_ns", (json_int_t)waited_ns));
}

/*
 * One record for many touches: [address, thread, write, out, microseconds]. Who receives it knows names and mappings.
 */
static void emit_touches(struct watch *watch)
{
	struct touch touches[EMIT_AT_ONCE];
	size_t page = page_size();
	uint64_t lost;
	size_t count;

	do {
		json_t *list;

		count = touch_ring_take(watch->pager, &watch->ring, touches, EMIT_AT_ONCE, &lost);
		if (!count && !lost)
			return;
		list = json_array();
		for (size_t i = 0; i < count; i++)
			json_array_append_new(
				list,
				json_pack("[I,i,b,b,I]", (json_int_t)round_down(touches[i].address, page),
					  (int)touches[i].tid, (int)(touches[i].address & TOUCH_WRITE),
					  (int)(touches[i].address & TOUCH_OUT),
					  (json_int_t)((max_u64(touches[i].ns, watch->started_ns) - watch->started_ns) /
						       1000)));
		watch->request->emit(watch->request->context, json_pack("{s:s,s:o,s:I}", "type", "touches", "touches",
									list, "lost", (json_int_t)lost));
	} while (count == EMIT_AT_ONCE);
}

static void discard_record(void *context, json_t *record)
{
	(void)context;
	json_decref(record);
}

static bool is_leaving(void *context)
{
	const struct pager *pager = context;

	return atomic_load(&pager->serving.leaving) > 0;
}

static int move_out(struct watch *watch, const struct out_request *out, bool *partial, struct error *error)
{
	struct pager *pager = watch->pager;
	struct out_sums sums = {0};
	int rc = 0;

	pthread_mutex_lock(&pager->job); /* without a sign of life: the client may take its time */
	if (atomic_load(&pager->ended) || pager->spaces[0].dead)
		rc = error_set(error, -ESRCH, "it has ended", NULL, "watch process %d", pager->target.pid);
	else
		rc = out_run(pager, out, &sums, error);
	pthread_mutex_unlock(&pager->job);
	json_decref(sums.reasons);
	*partial = sums.partial;
	return rc;
}

static int move_first(struct watch *watch, bool *partial, struct error *error)
{
	const struct out_request out = {
		.regions = watch->request->regions,
		.asker = {is_leaving, watch->pager},
		.emit = watch->request->emit,
		.context = watch->request->context,
	};

	return move_out(watch, &out, partial, error);
}

/* What is still mapped: the program goes on meanwhile. */
static int move_again(struct watch *watch, struct error *error)
{
	const struct out_request out = {
		.regions = watch->regions,
		.asker = {is_leaving, watch->pager},
		.skip_unmapped = true,
		.emit = discard_record,
	};

	return move_out(watch, &out, &(bool){false}, error);
}

/* Eligible memory that holds pages and was not watched yet. */
static int move_new(struct watch *watch, bool *partial, struct error *error)
{
	_cleanup_regions_ struct region_vec found = {0};
	struct out_request out = {
		.everything = true,
		.asker = {is_leaving, watch->pager},
		.skip_unmapped = true,
		.emit = watch->request->emit,
		.context = watch->request->context,
	};
	int rc = watch_find(watch->pager, &watch->regions, &found);

	for (size_t i = 0; rc == 0 && i < found.count; i++)
		rc = region_vec_insert(&watch->regions, found.items[i]);
	if (rc < 0)
		return error_set(error, rc, rc == -ESRCH ? "it has ended" : NULL, NULL,
				 "read the mappings of process %d", watch->pager->target.pid);
	out.regions = found;
	return found.count ? move_out(watch, &out, partial, error) : 0;
}

/* Whether the client wants no more. It has nothing to say, so what it sends is the same to us. */
static bool heard_enough(int connection, uint64_t wait_ms)
{
	struct pollfd fd = {.fd = connection, .events = POLLIN | POLLRDHUP};

	return poll(&fd, 1, (int)wait_ms) > 0;
}

/*
 * What has come back goes out again. A failure of that ends the watch like any other end; the pages are resident or
 * out, never lost.
 */
static int go_round(struct watch *watch, struct error *error)
{
	uint64_t now = (clock_now_ns() - watch->started_ns) / 1000;

	emit_touches(watch);
	emit_state(watch);
	watch->request->emit(watch->request->context,
			     json_pack("{s:s,s:I}", "type", "round", "at_us", (json_int_t)now));
	return move_again(watch, error);
}

static uint64_t elapsed_ms(const struct watch *watch)
{
	return (clock_now_ns() - watch->started_ns) / 1000000;
}

/* Those that this thread asked to stop for a round, and that stopped too late for it. */
static void let_threads_go(struct pager *pager)
{
	if (pthread_mutex_trylock(&pager->job) != 0)
		return;
	access_reap(&pager->access);
	pthread_mutex_unlock(&pager->job);
}

static int watch_on(struct watch *watch, struct error *error)
{
	const struct watch_request *request = watch->request;
	uint64_t next = request->again_ms ? elapsed_ms(watch) + request->again_ms : 0;
	uint64_t find = elapsed_ms(watch) + FIND_MS;
	int rc = 0;

	while (rc == 0 && !atomic_load(&watch->pager->ended) && !watch->pager->spaces[0].dead) {
		uint64_t now = elapsed_ms(watch);
		uint64_t wait = EMIT_MS;

		if (request->duration_ms && now >= request->duration_ms)
			break;
		if (request->duration_ms)
			wait = min_u64(wait, request->duration_ms - now);
		if (next && now >= next) {
			rc = go_round(watch, error);
			next = elapsed_ms(watch) + request->again_ms;
			continue;
		}
		if (next)
			wait = min_u64(wait, next - now);
		if (request->later && now >= find) {
			rc = move_new(watch, &(bool){false}, error);
			find = elapsed_ms(watch) + FIND_MS;
			continue;
		}
		if (heard_enough(request->connection, wait))
			break;
		let_threads_go(watch->pager);
		emit_touches(watch);
	}
	return rc == -ESRCH ? 0 : rc;
}

static bool begin_watch(struct pager *pager, struct watch *watch)
{
	bool alone;

	pthread_mutex_lock(&pager->lock);
	alone = !pager->faults.touched;
	if (alone)
		pager->faults.touched = &watch->ring;
	pthread_mutex_unlock(&pager->lock);
	return alone;
}

static void end_watch(struct pager *pager)
{
	pthread_mutex_lock(&pager->lock);
	pager->faults.touched = NULL;
	pager->faults.watch_ended_ns = clock_now_ns();
	pthread_mutex_unlock(&pager->lock);
}

static int copy_regions(struct watch *watch)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < watch->request->regions.count; i++)
		rc = region_vec_insert(&watch->regions, watch->request->regions.items[i]);
	return rc;
}

static void free_watch(struct watch *watch)
{
	touch_ring_free(&watch->ring);
	region_vec_free(&watch->regions);
}

int watch_run(struct pager *pager, const struct watch_request *request, bool *partial, struct error *error)
{
	struct watch watch = {.pager = pager, .request = request, .started_ns = request->resume_ns};
	int rc = copy_regions(&watch);

	if (!request->resume_ns)
		watch.started_ns = clock_now_ns();
	if (rc < 0 || touch_ring_init(&watch.ring, request->later ? NULL : &request->regions) < 0) {
		free_watch(&watch);
		return error_set(error, -ENOMEM, NULL, NULL, "watch process %d", pager->target.pid);
	}
	if (!begin_watch(pager, &watch)) {
		free_watch(&watch);
		return error_set(error, -EBUSY, "another client watches it", "end that one first", "watch process %d",
				 pager->target.pid);
	}
	setpriority(PRIO_PROCESS, 0, 0); /* of this thread: telling is less urgent than serving */
	if (!request->resume_ns)
		rc = request->later ? move_new(&watch, partial, error) : move_first(&watch, partial, error);
	if (rc == 0) {
		emit_state(&watch);
		rc = watch_on(&watch, error);
	}
	end_watch(pager);
	emit_touches(&watch);
	emit_state(&watch);
	free_watch(&watch);
	return rc;
}
