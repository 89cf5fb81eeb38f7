/* SPDX-License-Identifier: MIT */
/*
 * A forked child gets a ring of its own with the same entries. The parent's mapping is inherited only while a fork goes
 * on: what reclaimers did up to the moment of the fork, the child sees in the indices that it finds after it. Entries
 * that may have been reclaimed by then count as reclaimed.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "ring/ring.h"

/* Where the ring was when the fork began; the caller's lock is held, so that tail and entries stay. */
static struct {
	struct ring_work *entries; /* from head up to tail, holes too; NULL: there is no memory for them */
	size_t bytes;
	uint64_t head, tail;
	uint32_t capacity;
	bool inherited;
	bool taken;
} before;

static atomic_bool forking; /* a lock: threads may fork at once */

static void copy_entries(const struct uvm_reclaim_ring *ring)
{
	const struct ring_entry *entries = ring_entries_of(ring->view.shared);
	void *at;

	before.bytes = (before.tail - before.head) * sizeof(*before.entries);
	at = before.bytes ? mmap(NULL, before.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			  : MAP_FAILED;
	before.entries = at == MAP_FAILED ? NULL : at;
	for (uint64_t id = before.head; before.entries && id < before.tail; id++) {
		const struct ring_entry *entry = &entries[id % before.capacity];

		before.entries[id - before.head] = (struct ring_work){
			.id = id,
			.address = atomic_load(&entry->address),
			.size = atomic_load(&entry->size),
			.action = atomic_load(&entry->action),
		};
	}
}

static void free_entries(void)
{
	if (before.entries)
		munmap(before.entries, before.bytes);
	before.entries = NULL;
}

/* A thread that forks holds it for the length of a fork only. */
static void prepare_fork(void)
{
	struct uvm_reclaim_ring *ring = &ring_own;
	int error = errno;
	uint64_t pause = 0;

	while (atomic_exchange(&forking, true))
		ring_pause(&pause, UINT64_MAX);
	before.taken = ring_valid(ring);
	if (before.taken) {
		before.tail = atomic_load(&ring->next);
		before.head = atomic_load(&ring->view.shared->head);
		before.capacity = atomic_load(&ring->view.shared->capacity);
		copy_entries(ring);
		before.inherited = !madvise(ring->view.shared, ring->bytes, MADV_DOFORK);
	}
	errno = error;
}

static void after_in_parent(void)
{
	int error = errno;

	if (before.taken) {
		madvise(ring_own.view.shared, ring_own.bytes, MADV_DONTFORK);
		free_entries();
	}
	atomic_store(&forking, false);
	errno = error;
}

/* Memory that may have been unmapped in the parent may be something else by now: it is left alone. */
static void redo_entries(const struct uvm_reclaim_ring *ring, uint64_t end, uint64_t unmapping)
{
	for (uint64_t id = before.head; before.entries && id < end; id++) {
		struct ring_work work = before.entries[id - before.head];

		work.maybe_unmapped = id < unmapping;
		if (work.action)
			ring_reclaim_work(ring, &work);
	}
}

static void enter_all(struct ring_shared *shared, uint64_t head)
{
	struct ring_entry *entries = ring_entries_of(shared);

	shared->head = head;
	shared->busy = head;
	shared->unmapping = head;
	for (uint64_t id = head; id < before.tail; id++) {
		const struct ring_work *work = &before.entries[id - before.head];
		struct ring_entry *entry = &entries[id % before.capacity];

		entry->address = work->address;
		entry->size = work->size;
		entry->action = work->action;
		shared->bytes_in += work->size;
		shared->entries_in += work->action != 0;
	}
	shared->minimum = (uint64_t)shared->bytes_in;
	atomic_store(&shared->tail, before.tail);
}

/*
 * In the place of the parent's, unless that was not inherited: then something else may be there. Without a memfd the
 * entries still are the child's own, and nobody reclaims them.
 */
static int map_again(struct uvm_reclaim_ring *ring)
{
	void *at = before.inherited ? ring->view.shared : NULL;

	ring->fd = -1;
	if (!ring_map(ring, at, ring->view.max_capacity, before.capacity))
		return 0;
	at = mmap(at, ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	madvise(at, ring->bytes, MADV_DONTFORK);
	ring->view.shared = at;
	ring->view.shared->capacity = before.capacity;
	ring->view.shared->period_ns = RING_PERIOD;
	ring->view.shared->sampled_ns = clock_now_ns();
	return 0;
}

static void begin_again(struct uvm_reclaim_ring *ring)
{
	uint64_t reclaimed = before.tail, unmapping = before.tail;

	if (before.inherited) {
		reclaimed = max_u64(before.head, atomic_load(&ring->view.shared->busy));
		unmapping = atomic_load(&ring->view.shared->unmapping);
	}
	if (!before.entries || reclaimed > before.tail)
		reclaimed = before.tail;
	if (ring_fd_is_ours(ring))
		close(ring->fd);
	atomic_store(&ring->reclaiming, false);
	atomic_store(&ring->waiting, 0);
	atomic_store(&ring->owner, 0);
	if (!map_again(ring)) {
		redo_entries(ring, reclaimed, unmapping);
		enter_all(ring->view.shared, reclaimed);
		ring_publish(ring);
		atomic_store(ring->alive, 1);
	}
	free_entries();
}

/* fork(2) is no cancellation point, close(2) is one. */
static void after_in_child(void)
{
	int error = errno, state;

	atomic_store(&forking, false);
	if (!before.taken)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	begin_again(&ring_own);
	pthread_setcancelstate(state, NULL);
	errno = error;
}

int ring_follow_forks(void)
{
	static bool followed;
	int error = followed ? 0 : pthread_atfork(prepare_fork, after_in_parent, after_in_child);

	followed = followed || !error;
	return -error;
}
