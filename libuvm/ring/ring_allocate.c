/* SPDX-License-Identifier: MIT */
/* The beginning of the ring of this process. */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring/ring.h"

/* The page that a child made without the handlers of fork(2) finds wiped. madvise(2), MADV_WIPEONFORK, Linux 4.14. */
static _Atomic uint64_t *map_alive(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (at == MAP_FAILED)
		return NULL;
	if (!madvise(at, page, MADV_WIPEONFORK))
		return at;
	error = errno;
	munmap(at, page);
	errno = error;
	return NULL;
}

static uvm_reclaim_error_t error_of(int result)
{
	switch (result) {
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EAGAIN:
		return UVM_RECLAIM_RESOURCE_SHORTAGE;
	default:
		return UVM_RECLAIM_NOT_SUPPORTED;
	}
}

static uvm_reclaim_error_t begin_ring(struct uvm_reclaim_ring *ring, uint32_t initial, uint32_t maximum)
{
	_Atomic uint64_t *alive = map_alive();
	int result;

	if (!alive)
		return error_of(-errno);
	result = ring_follow_forks();
	if (!result)
		result = ring_map(ring, NULL, maximum, initial);
	if (result) {
		munmap(alive, (size_t)sysconf(_SC_PAGESIZE));
		return error_of(result);
	}
	ring_publish(ring);
	ring->alive = alive;
	atomic_store_explicit(alive, 1, memory_order_release);
	return UVM_RECLAIM_SUCCESS;
}

uvm_reclaim_error_t uvm_reclaim_ring_allocate(uvm_reclaim_ring_t *ring, uvm_reclaim_count_t initial_capacity,
					      uvm_reclaim_count_t max_capacity)
{
	static atomic_bool taken;
	uvm_reclaim_error_t error;
	int state;

	if (!ring)
		return UVM_RECLAIM_INVALID_ARGUMENT;
	*ring = NULL;
	if (!initial_capacity || initial_capacity > max_capacity ||
	    max_capacity != uvm_reclaim_round_capacity(max_capacity))
		return UVM_RECLAIM_INVALID_CAPACITY;
	if (atomic_exchange(&taken, true))
		return UVM_RECLAIM_RESOURCE_SHORTAGE;
	/* This is no cancellation point, close(2) is one. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	error = begin_ring(&ring_own, uvm_reclaim_round_capacity(initial_capacity), max_capacity);
	pthread_setcancelstate(state, NULL);
	if (error)
		atomic_store(&taken, false);
	else
		*ring = &ring_own;
	return error;
}
