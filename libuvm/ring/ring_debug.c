/* SPDX-License-Identifier: MIT */
/*
 * What debug builds (-DUVM_RECLAIM_DEBUG) check: misuse that would lose or corrupt memory later, told where it happens.
 */
#ifdef UVM_RECLAIM_DEBUG
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/ring.h"

#define trap(...)                                             \
	do {                                                  \
		fprintf(stderr, "uvm_reclaim: " __VA_ARGS__); \
		abort();                                      \
	} while (0)

void ring_debug_begin(struct uvm_reclaim_ring *ring, const char *function)
{
	pid_t owner = 0;

	if (!atomic_compare_exchange_strong(&ring->owner, &owner, gettid()))
		trap("thread %d calls %s while thread %d changes the ring: the caller's lock is not held\n", gettid(),
		     function, owner);
}

void ring_debug_end(struct uvm_reclaim_ring *ring)
{
	atomic_store(&ring->owner, 0);
}

void ring_debug_enter(const struct uvm_reclaim_ring *ring, uint64_t start, uint64_t size)
{
	const struct ring_entry *entries = ring_entries_of(ring->view.shared);
	uint32_t capacity = atomic_load(&ring->view.shared->capacity);

	for (uint64_t id = atomic_load(&ring->view.shared->busy); id < atomic_load(&ring->next); id++) {
		const struct ring_entry *entry = &entries[id % capacity];
		uint64_t other = atomic_load(&entry->address), other_end = other + atomic_load(&entry->size);

		if (atomic_load(&entry->action) && start < other_end && other < start + size)
			trap("0x%" PRIx64 "-0x%" PRIx64 " is entered, but 0x%" PRIx64 "-0x%" PRIx64
			     " is in the ring, as %" PRIu64 "\n",
			     start, start + size, other, other_end, id);
	}
}

void ring_debug_hole(uint64_t id)
{
	trap("%" PRIu64 " is cancelled, but was cancelled before\n", id);
}
#else
typedef int ring_debug_is_not_built; /* a file of C has something in it */
#endif
