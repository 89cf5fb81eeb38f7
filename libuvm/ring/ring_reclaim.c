/* SPDX-License-Identifier: MIT */
/* Reclaiming inside the program: by direct system calls, as any other reclaimer of its ring. */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/size.h"
#include "ring/ring.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

static bool drop_contents(uint64_t start, uint64_t bytes)
{
	void *at = (void *)(uintptr_t)start; // NOLINT(performance-no-int-to-ptr)

	return !bytes || !madvise(at, bytes, MADV_DONTNEED) || !madvise(at, bytes, MADV_DONTNEED_LOCKED);
}

/* What cannot be unmapped, for want of another mapping of the process to split one, loses its contents at least. */
static bool unmap_region(const struct ring_work *work)
{
	if (!munmap((void *)(uintptr_t)work->address, work->size)) // NOLINT(performance-no-int-to-ptr)
		return true;
	drop_contents(work->address, work->size);
	return false;
}

bool ring_reclaim_work(const struct uvm_reclaim_ring *ring, const struct ring_work *work)
{
	int error = errno;
	bool done;

	if (work->action == UVM_RECLAIM_FREE)
		done = drop_contents(work->address, round_down(work->size, ring->page));
	else
		done = work->maybe_unmapped || unmap_region(work);
	errno = error;
	return done;
}

static uint64_t reclaim_batch(struct uvm_reclaim_ring *ring, const struct ring_batch *batch)
{
	uint64_t bytes = 0;
	unsigned int failed = 0;

	for (unsigned int i = 0; i < batch->count; i++) {
		const struct ring_work *work = &batch->work[i];

		if (work->action == UVM_RECLAIM_DEALLOCATE && !work->maybe_unmapped)
			ring_unmapping(&ring->view, work->id);
		failed += !ring_reclaim_work(ring, work);
		bytes += work->size;
	}
	ring_complete(&ring->view, batch, bytes, failed);
	return bytes;
}

static bool anything_left(struct uvm_reclaim_ring *ring)
{
	return atomic_load(&ring->view.shared->head) != atomic_load(&ring->next);
}

/*
 * Of a reclaimer outside that was killed a thread of this program may make a system call yet: its batch is left to the
 * next one outside.
 */
static bool left_to_others(const struct ring_shared *shared)
{
	return atomic_load(&shared->caller) && atomic_load(&shared->busy) != atomic_load(&shared->head);
}

static int claim_batch(struct uvm_reclaim_ring *ring, uint64_t entries, uint64_t bytes, struct ring_batch *batch)
{
	if (left_to_others(ring->view.shared))
		return -EBUSY;
	return ring_claim(&ring->view, ring_claim_size(&ring->view, entries, bytes), batch);
}

/*
 * At least so many entries, or so many bytes, or all; *done: the bytes. Needs both locks: what is left to others nobody
 * does meanwhile.
 */
static uvm_reclaim_error_t reclaim_entries(struct uvm_reclaim_ring *ring, uint64_t entries, uint64_t bytes,
					   uint64_t *done)
{
	uint64_t deadline = 0, pause = 0;
	struct ring_batch batch;

	*done = 0;
	while (entries && *done < bytes) {
		int got = claim_batch(ring, entries, bytes - *done, &batch);

		if (got < 0)
			return got == -EBUSY ? UVM_RECLAIM_RESOURCE_SHORTAGE : UVM_RECLAIM_INVALID_RING;
		if (got) {
			*done += reclaim_batch(ring, &batch);
			entries -= min_u64(batch.count, entries);
			pause = 0;
			continue;
		}
		if (!anything_left(ring))
			return UVM_RECLAIM_SUCCESS;
		if (!pause)
			deadline = clock_now_ns() + RING_WAIT_MS * UINT64_C(1000000);
		if (!ring_pause(&pause, deadline))
			return UVM_RECLAIM_RESOURCE_SHORTAGE;
	}
	return UVM_RECLAIM_SUCCESS;
}

/* Who comes lets those first that wait already: a thread that reclaims again and again would keep them out. */
static bool lock_threads(struct uvm_reclaim_ring *ring, uint64_t deadline)
{
	uint64_t pause = 0;
	bool ours;

	if (atomic_load(&ring->waiting))
		ring_pause(&pause, deadline);
	atomic_fetch_add(&ring->waiting, 1);
	do
		ours = !atomic_exchange(&ring->reclaiming, true);
	while (!ours && ring_pause(&pause, deadline));
	atomic_fetch_sub(&ring->waiting, 1);
	return ours;
}

static uvm_reclaim_error_t lock_ring(struct uvm_reclaim_ring *ring, int wait_ms)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)wait_ms * 1000000, now;
	int error = errno, result;

	if (!lock_threads(ring, deadline))
		return UVM_RECLAIM_RESOURCE_SHORTAGE;
	now = clock_now_ns();
	wait_ms = now < deadline ? (int)((deadline - now) / 1000000) : 0;
	result = ring_fd_is_ours(ring) ? ring_lock(ring->fd, wait_ms) : -EBADF;
	errno = error;
	if (!result)
		return UVM_RECLAIM_SUCCESS;
	atomic_store(&ring->reclaiming, false);
	return result == -ETIMEDOUT || result == -ENOLCK ? UVM_RECLAIM_RESOURCE_SHORTAGE : UVM_RECLAIM_NOT_SUPPORTED;
}

static void unlock_ring(struct uvm_reclaim_ring *ring)
{
	ring_unlock(ring->fd);
	atomic_store(&ring->reclaiming, false);
}

/* What is there now: while others go on entering there would be no end. */
static uint64_t waiting_entries(const struct uvm_reclaim_ring *ring)
{
	uint64_t head = atomic_load(&ring->view.shared->head);

	return atomic_load(&ring->next) - head;
}

uvm_reclaim_error_t uvm_reclaim_ring_flush(uvm_reclaim_ring_t ring, uvm_reclaim_count_t count)
{
	uvm_reclaim_error_t error;
	uint64_t entries, done;

	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	error = lock_ring(ring, RING_WAIT_MS);
	if (error)
		return error;
	entries = waiting_entries(ring);
	error = reclaim_entries(ring, entries < count ? entries : count, UINT64_MAX, &done);
	unlock_ring(ring);
	return error;
}

/* Entries that no capacity needs any more give their memory back. */
static void release_entries(struct uvm_reclaim_ring *ring, uint32_t capacity)
{
	size_t begin = round_up(RING_ENTRIES + (size_t)capacity * sizeof(struct ring_entry), ring->page);
	int error = errno;

	if (begin < ring->bytes)
		madvise((char *)ring->view.shared + begin, ring->bytes - begin, MADV_REMOVE);
	errno = error;
}

uvm_reclaim_error_t ring_resize(struct uvm_reclaim_ring *ring, uint32_t capacity, int wait_ms)
{
	uvm_reclaim_error_t error;
	uint64_t done;

	if (!capacity || capacity > ring->view.max_capacity)
		return UVM_RECLAIM_INVALID_CAPACITY;
	capacity = uvm_reclaim_round_capacity(capacity);
	error = lock_ring(ring, wait_ms);
	if (error)
		return error;
	error = reclaim_entries(ring, UINT64_MAX, UINT64_MAX, &done);
	if (!error) {
		atomic_store(&ring->view.shared->capacity, capacity);
		release_entries(ring, capacity);
	}
	unlock_ring(ring);
	return error;
}

uvm_reclaim_error_t uvm_reclaim_ring_resize(uvm_reclaim_ring_t ring, uvm_reclaim_count_t capacity)
{
	uvm_reclaim_error_t error;

	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	ring_debug_begin(ring, "uvm_reclaim_ring_resize");
	error = ring_resize(ring, capacity, RING_WAIT_MS);
	ring_debug_end(ring);
	return error;
}

/*
 * Called by functions like free(3), which must not wait for a reclaimer that is slow or stopped: that one takes samples
 * too.
 */
uvm_reclaim_error_t uvm_reclaim_update_accounting(uvm_reclaim_ring_t ring)
{
	struct ring_shared *shared;
	uvm_reclaim_error_t error;
	uint64_t trim, done;

	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	error = lock_ring(ring, 0);
	if (error)
		return error;
	shared = ring->view.shared;
	trim = ring_sample(&ring->view, clock_now_ns());
	error = reclaim_entries(ring, UINT64_MAX, trim, &done);
	atomic_store(&shared->trimmed_bytes, atomic_load(&shared->trimmed_bytes) + done);
	unlock_ring(ring);
	return error;
}
