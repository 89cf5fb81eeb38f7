/* SPDX-License-Identifier: MIT */
/*
 * The reclaimers' half of the protocol, in Dekker's manner: a reclaimer stores busy and then reads tail, the program
 * stores tail (lowered to the id that it takes back) and then reads busy, so that at least one of the two sees the
 * other. tests/model/ring.pml is its proof.
 */
#include "ring/protocol.h"

#include <errno.h>

#include <uvm/reclaim.h>

#include "base/size.h"

#define ABANDONED_PERIODS 10
#define READ_TRIES        100

/* What part of the weighted minimum a sample trims. */
static const unsigned int trim_percent[] = {
	[RING_NORMAL] = 25,
	[RING_WARNING] = 50,
	[RING_CRITICAL] = 100,
};

struct indices {
	uint32_t capacity;
	uint64_t head, busy, tail;
};

static uint64_t load_relaxed(_Atomic uint64_t *at)
{
	return atomic_load_explicit(at, memory_order_acquire);
}

static void add_relaxed(_Atomic uint64_t *at, uint64_t n)
{
	atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Of indices, which run freely: whether one is below another. */
static bool is_below(uint64_t one, uint64_t other)
{
	return (int64_t)(one - other) < 0;
}

/* Tail first: what is read later can only be nearer to it. */
static struct indices read_indices(const struct ring_view *view)
{
	struct ring_shared *shared = view->shared;
	struct indices at;

	at.tail = load_relaxed(&shared->tail);
	at.head = load_relaxed(&shared->head);
	at.busy = load_relaxed(&shared->busy);
	at.capacity = atomic_load_explicit(&shared->capacity, memory_order_acquire);
	return at;
}

static bool indices_possible(const struct ring_view *view, const struct indices *at)
{
	return at->capacity && at->capacity <= view->max_capacity && at->busy - at->head <= RING_BATCH &&
	       !is_below(at->head + at->capacity, at->tail);
}

int ring_view_check(const struct ring_view *view)
{
	struct ring_shared *shared = view->shared;

	if (shared->fixed.magic != RING_MAGIC || shared->fixed.version != RING_VERSION)
		return -EBADMSG;
	for (int i = 0; i < READ_TRIES; i++) {
		struct indices at = read_indices(view);

		if (indices_possible(view, &at))
			return 0;
		if (load_relaxed(&shared->head) == at.head)
			return -EBADMSG;
	}
	return -EBADMSG;
}

static void copy_work(const struct ring_view *view, const struct indices *at, struct ring_batch *batch)
{
	const struct ring_entry *entries = ring_entries_of(view->shared);
	uint64_t unmapping = load_relaxed(&view->shared->unmapping);

	*batch = (struct ring_batch){.head = at->head, .end = at->busy};
	for (uint64_t id = at->head; id != at->busy; id++) {
		const struct ring_entry *entry = &entries[id % at->capacity];
		struct ring_work work = {
			.id = id,
			.address = atomic_load_explicit(&entry->address, memory_order_relaxed),
			.size = atomic_load_explicit(&entry->size, memory_order_relaxed),
			.action = atomic_load_explicit(&entry->action, memory_order_relaxed),
		};

		work.maybe_unmapped = work.action == UVM_RECLAIM_DEALLOCATE && is_below(id, unmapping);
		if (work.action)
			batch->work[batch->count++] = work;
	}
}

/*
 * What a reclaimer that died had claimed is never lowered: it may be reclaimed in part, and what is not claimed the
 * program can take back. Cancelling lowers tail for a moment only, so it is enough to come again.
 */
static bool claim_again(const struct ring_view *view, const struct indices *at)
{
	atomic_exchange(&view->shared->busy, at->busy);
	return !is_below(atomic_load(&view->shared->tail), at->busy);
}

static bool claim_new(const struct ring_view *view, unsigned int most, struct indices *at)
{
	uint64_t tail;

	if (most > RING_BATCH)
		most = RING_BATCH;
	if (!is_below(at->head, at->tail))
		return false;
	at->busy = at->tail - at->head < most ? at->tail : at->head + most;
	atomic_exchange(&view->shared->busy, at->busy);
	tail = atomic_load(&view->shared->tail);
	if (is_below(tail, at->busy)) {
		at->busy = is_below(tail, at->head) ? at->head : tail;
		atomic_store(&view->shared->busy, at->busy);
	}
	return at->busy != at->head;
}

int ring_claim(const struct ring_view *view, unsigned int most, struct ring_batch *batch)
{
	struct indices at = read_indices(view);

	if (!indices_possible(view, &at))
		return -EBADMSG;
	if (at.busy != at.head ? !claim_again(view, &at) : !claim_new(view, most, &at))
		return 0;
	copy_work(view, &at, batch);
	return 1;
}

void ring_unmapping(const struct ring_view *view, uint64_t id)
{
	atomic_store(&view->shared->unmapping, id + 1);
}

/* Counted before head is stored: a program that finds its ring empty knows that everything is counted. */
void ring_complete(const struct ring_view *view, const struct ring_batch *batch, uint64_t bytes, unsigned int failed)
{
	struct ring_shared *shared = view->shared;
	uint64_t left;

	add_relaxed(&shared->reclaimed.entries, batch->count);
	add_relaxed(&shared->reclaimed.bytes, bytes);
	add_relaxed(&shared->reclaimed.failed, failed);
	left = ring_bytes(view);
	if (left < atomic_load_explicit(&shared->minimum, memory_order_relaxed))
		atomic_store_explicit(&shared->minimum, left, memory_order_relaxed);
	atomic_store_explicit(&shared->head, batch->end, memory_order_release);
}

static uint64_t difference_of(_Atomic uint64_t *in, _Atomic uint64_t *out)
{
	uint64_t gone = load_relaxed(out);
	int64_t left = (int64_t)(load_relaxed(in) - gone);

	return left > 0 ? (uint64_t)left : 0;
}

uint64_t ring_bytes(const struct ring_view *view)
{
	return difference_of(&view->shared->bytes_in, &view->shared->reclaimed.bytes);
}

uint64_t ring_entries(const struct ring_view *view)
{
	return difference_of(&view->shared->entries_in, &view->shared->reclaimed.entries);
}

unsigned int ring_claim_size(const struct ring_view *view, uint64_t entries, uint64_t bytes)
{
	uint64_t there = ring_entries(view), average = there ? ring_bytes(view) / there : 0;

	if (average && bytes / average < entries)
		entries = bytes / average + (bytes % average ? 1 : 0);
	return entries < RING_BATCH ? (unsigned int)entries : RING_BATCH;
}

uint64_t ring_sample(const struct ring_view *view, uint64_t now_ns)
{
	struct ring_shared *shared = view->shared;
	uint32_t level = atomic_load_explicit(&shared->level, memory_order_relaxed);
	uint64_t now = ring_bytes(view), minimum = min_u64(load_relaxed(&shared->minimum), now);
	uint64_t weighted = load_relaxed(&shared->weighted), trim;

	weighted = weighted - weighted / 4 + minimum / 4;
	trim = weighted / 100 * trim_percent[min_u64(level, RING_CRITICAL)];
	atomic_store_explicit(&shared->weighted, weighted, memory_order_relaxed);
	atomic_store_explicit(&shared->minimum, now, memory_order_relaxed);
	atomic_store_explicit(&shared->sampled_ns, now_ns, memory_order_relaxed);
	add_relaxed(&shared->samples, 1);
	return min_u64(trim, now);
}

uint64_t ring_abandoned(const struct ring_view *view, uint64_t now_ns)
{
	uint64_t period = load_relaxed(&view->shared->period_ns), bytes = ring_bytes(view);

	if (now_ns < load_relaxed(&view->shared->sampled_ns) ||
	    (now_ns - load_relaxed(&view->shared->sampled_ns)) / ABANDONED_PERIODS < period)
		return 0;
	return bytes / 8 + (bytes % 8 ? 1 : 0);
}
