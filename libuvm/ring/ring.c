/* SPDX-License-Identifier: MIT */
/* The program's half of the ring: entering and taking back, without a system call. protocol.c is the other half. */
#include <stddef.h>
#include <time.h>

#include "base/clock.h"
#include "base/size.h"
#include "ring/ring.h"

#define GROWTH       (16 * MiB)
#define GROWN_PART   10 /* of a period: between samples of what has grown, at least */
#define CLOCK_EVERY  64 /* operations between two looks at the clock */
#define ADDRESSES    (UINT64_C(1) << 56)
#define unlikely(is) __builtin_expect(!!(is), 0)

static uint64_t load_relaxed(_Atomic uint64_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static void store_relaxed(_Atomic uint64_t *at, uint64_t to)
{
	atomic_store_explicit(at, to, memory_order_relaxed);
}

static struct ring_entry *entry_of(const struct uvm_reclaim_ring *ring, uint64_t id)
{
	uint32_t capacity = atomic_load_explicit(&ring->view.shared->capacity, memory_order_relaxed);
	uint64_t place = capacity & (capacity - 1) ? id % capacity : id & (capacity - 1);

	return &ring_entries_of(ring->view.shared)[place];
}

static void write_entry(struct ring_entry *entry, uint64_t start, uint64_t size, uint32_t action)
{
	store_relaxed(&entry->address, start);
	atomic_store_explicit(&entry->size, (uint32_t)size, memory_order_relaxed);
	atomic_store_explicit(&entry->action, action, memory_order_relaxed);
}

static uint32_t action_of(const struct ring_entry *entry)
{
	return atomic_load_explicit(&entry->action, memory_order_relaxed);
}

/* After a reclaimer that died the two counts can differ, and an empty ring is where that can be told. */
static void count_in(struct ring_shared *shared, uint64_t size, bool empty)
{
	uint64_t bytes_out = load_relaxed(&shared->reclaimed.bytes),
		 bytes_in = empty ? bytes_out : load_relaxed(&shared->bytes_in);

	if (unlikely((int64_t)(bytes_in - bytes_out) < (int64_t)load_relaxed(&shared->minimum)))
		store_relaxed(&shared->minimum, bytes_in > bytes_out ? bytes_in - bytes_out : 0);
	store_relaxed(&shared->bytes_in, bytes_in + size);
	store_relaxed(&shared->entries_in,
		      (empty ? load_relaxed(&shared->reclaimed.entries) : load_relaxed(&shared->entries_in)) + 1);
}

static void count_back(struct ring_shared *shared, uint64_t size)
{
	uint64_t bytes_in = load_relaxed(&shared->bytes_in) - size, bytes_out = load_relaxed(&shared->reclaimed.bytes);

	store_relaxed(&shared->bytes_in, bytes_in);
	store_relaxed(&shared->entries_in, load_relaxed(&shared->entries_in) - 1);
	if (unlikely((int64_t)(bytes_in - bytes_out) < (int64_t)load_relaxed(&shared->minimum)))
		store_relaxed(&shared->minimum, bytes_in > bytes_out ? bytes_in - bytes_out : 0);
}

/*
 * Whether memory is short, and so much has been entered since the ring held least that its program may be about to use
 * it up: as much as that was, and GROWTH. At other times a short sample would trim what is needed now and then.
 */
static bool has_grown(struct ring_shared *shared)
{
	uint64_t minimum = load_relaxed(&shared->minimum);
	int64_t grown = (int64_t)(load_relaxed(&shared->bytes_in) - load_relaxed(&shared->reclaimed.bytes) - minimum);

	return unlikely(grown >= (int64_t)max_u64(GROWTH, minimum) &&
			atomic_load_explicit(&shared->level, memory_order_relaxed) != RING_NORMAL);
}

/* What has grown is sampled before the end of the period, but not all the time. */
static bool sample_is_due(struct uvm_reclaim_ring *ring)
{
	struct ring_shared *shared = ring->view.shared;
	bool grown = has_grown(shared);
	uint64_t now_ns, period_ns;

	if (++ring->operations % CLOCK_EVERY && !grown)
		return false;
	now_ns = clock_ns(CLOCK_MONOTONIC_COARSE);
	period_ns = load_relaxed(&shared->period_ns);
	return now_ns >= load_relaxed(&shared->sampled_ns) + (grown ? period_ns / GROWN_PART : period_ns);
}

/* From here until tail is stored again either no reclaimer gets this entry, or busy shows that one did. */
static bool hold_entry(struct ring_shared *shared, uint64_t id)
{
	atomic_exchange(&shared->tail, id);
	return id >= atomic_load(&shared->busy);
}

static void let_go(struct ring_shared *shared, uint64_t tail)
{
	atomic_store_explicit(&shared->tail, tail, memory_order_release);
}

static void enter_new(struct uvm_reclaim_ring *ring, uint64_t start, uint64_t size, uint32_t action, uint64_t *id)
{
	struct ring_shared *shared = ring->view.shared;
	uint64_t tail = load_relaxed(&ring->next), head = atomic_load_explicit(&shared->head, memory_order_acquire);

	if (tail - head >= atomic_load_explicit(&shared->capacity, memory_order_relaxed)) {
		*id = UVM_RECLAIM_ID_NULL;
		return;
	}
	write_entry(entry_of(ring, tail), start, size, action);
	count_in(shared, size, tail == head);
	store_relaxed(&ring->next, tail + 1);
	let_go(shared, tail + 1);
	*id = tail;
}

static uvm_reclaim_error_t enter_again(struct uvm_reclaim_ring *ring, uint64_t start, uint64_t size, uint32_t action,
				       uint64_t *id)
{
	struct ring_shared *shared = ring->view.shared;
	uint64_t tail = load_relaxed(&ring->next);
	struct ring_entry *entry = entry_of(ring, *id);
	bool ours;

	if (*id >= tail)
		return UVM_RECLAIM_INVALID_ID;
	if (*id < atomic_load_explicit(&shared->head, memory_order_acquire) || action_of(entry)) {
		*id = UVM_RECLAIM_ID_NULL;
		return UVM_RECLAIM_SUCCESS;
	}
	ours = hold_entry(shared, *id);
	if (ours) {
		write_entry(entry, start, size, action);
		count_in(shared, size, false);
	}
	let_go(shared, tail);
	if (!ours)
		*id = UVM_RECLAIM_ID_NULL;
	return UVM_RECLAIM_SUCCESS;
}

/* Another capacity is asked for from outside. Tried again with the next entry while another reclaimer is at work. */
static void follow_wanted(struct uvm_reclaim_ring *ring, uint32_t wanted)
{
	_Atomic uint32_t *asked = &ring->view.shared->wanted;

	if (ring_resize(ring, wanted, 0) != UVM_RECLAIM_RESOURCE_SHORTAGE)
		atomic_compare_exchange_strong(asked, &wanted, 0);
}

static uvm_reclaim_error_t check_region(uint64_t start, uint64_t size, uvm_reclaim_action_t action)
{
	if (!size || size > UVM_RECLAIM_REGION_SIZE_MAX)
		return UVM_RECLAIM_INVALID_REGION_SIZE;
	if (!start || start & (ring_own.page - 1) || start >= ADDRESSES || size > ADDRESSES - start ||
	    !ring_action_known(action))
		return UVM_RECLAIM_INVALID_ARGUMENT;
	return UVM_RECLAIM_SUCCESS;
}

uvm_reclaim_error_t uvm_reclaim_try_enter(uvm_reclaim_ring_t ring, uint64_t start, uint64_t size,
					  uvm_reclaim_action_t action, uvm_reclaim_id_t *id, bool *should_update)
{
	uvm_reclaim_error_t error;
	uint32_t wanted;

	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	if (!id || !should_update)
		return UVM_RECLAIM_INVALID_ARGUMENT;
	error = check_region(start, size, action);
	if (error)
		return error;
	ring_debug_begin(ring, "uvm_reclaim_try_enter");
	ring_debug_enter(ring, start, size);
	wanted = atomic_load_explicit(&ring->view.shared->wanted, memory_order_relaxed);
	if (unlikely(wanted))
		follow_wanted(ring, wanted);
	if (*id == UVM_RECLAIM_ID_NULL)
		enter_new(ring, start, size, action, id);
	else
		error = enter_again(ring, start, size, action, id);
	*should_update = sample_is_due(ring);
	ring_debug_end(ring);
	return error;
}

static uvm_reclaim_state_t state_after(uvm_reclaim_action_t action)
{
	return action == UVM_RECLAIM_FREE ? UVM_RECLAIM_FREED : UVM_RECLAIM_DEALLOCATED;
}

static uvm_reclaim_state_t cancel_entry(struct uvm_reclaim_ring *ring, uint64_t id, uint64_t size,
					uvm_reclaim_action_t action)
{
	struct ring_shared *shared = ring->view.shared;
	uint64_t tail = load_relaxed(&ring->next);
	bool ours = hold_entry(shared, id);

	if (ours) {
		write_entry(entry_of(ring, id), 0, 0, 0);
		count_back(shared, size);
	}
	let_go(shared, tail);
	if (ours)
		return UVM_RECLAIM_UNRECLAIMED;
	return id < atomic_load_explicit(&shared->head, memory_order_acquire) ? state_after(action) : UVM_RECLAIM_BUSY;
}

static uvm_reclaim_error_t check_entry(const struct uvm_reclaim_ring *ring, uint64_t id, uint64_t start, uint64_t size,
				       uvm_reclaim_action_t action)
{
	struct ring_entry *entry = entry_of(ring, id);

	if (!action_of(entry)) {
		ring_debug_hole(id);
		return UVM_RECLAIM_INVALID_ID;
	}
	if (load_relaxed(&entry->address) != start || action_of(entry) != action ||
	    atomic_load_explicit(&entry->size, memory_order_relaxed) != size)
		return UVM_RECLAIM_INVALID_ARGUMENT;
	return UVM_RECLAIM_SUCCESS;
}

uvm_reclaim_error_t uvm_reclaim_try_cancel(uvm_reclaim_ring_t ring, uvm_reclaim_id_t id, uint64_t start, uint64_t size,
					   uvm_reclaim_action_t action, uvm_reclaim_state_t *state, bool *should_update)
{
	uvm_reclaim_error_t error = UVM_RECLAIM_SUCCESS;

	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	if (!state || !should_update || !ring_action_known(action))
		return UVM_RECLAIM_INVALID_ARGUMENT;
	if (id >= load_relaxed(&ring->next))
		return UVM_RECLAIM_INVALID_ID;
	ring_debug_begin(ring, "uvm_reclaim_try_cancel");
	if (id < atomic_load_explicit(&ring->view.shared->head, memory_order_acquire)) {
		*state = state_after(action);
	} else {
		error = check_entry(ring, id, start, size, action);
		if (!error)
			*state = cancel_entry(ring, id, size, action);
	}
	if (!error)
		*should_update = sample_is_due(ring);
	ring_debug_end(ring);
	return error;
}

uvm_reclaim_error_t uvm_reclaim_query_state(uvm_reclaim_ring_t ring, uvm_reclaim_id_t id, uvm_reclaim_action_t action,
					    uvm_reclaim_state_t *state)
{
	struct ring_shared *shared;
	uint64_t busy;

	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	if (!state || !ring_action_known(action))
		return UVM_RECLAIM_INVALID_ARGUMENT;
	if (id >= load_relaxed(&ring->next))
		return UVM_RECLAIM_INVALID_ID;
	shared = ring->view.shared;
	busy = atomic_load(&shared->busy);
	if (id < atomic_load(&shared->head))
		*state = state_after(action);
	else
		*state = id < busy ? UVM_RECLAIM_BUSY : UVM_RECLAIM_UNRECLAIMED;
	return UVM_RECLAIM_SUCCESS;
}

bool uvm_reclaim_is_reusable(uvm_reclaim_state_t state)
{
	return state == UVM_RECLAIM_UNRECLAIMED || state == UVM_RECLAIM_FREED;
}

uvm_reclaim_error_t uvm_reclaim_ring_capacity(uvm_reclaim_ring_t ring, uvm_reclaim_count_t *capacity)
{
	if (!ring_valid(ring))
		return UVM_RECLAIM_INVALID_RING;
	if (!capacity)
		return UVM_RECLAIM_INVALID_ARGUMENT;
	*capacity = atomic_load_explicit(&ring->view.shared->capacity, memory_order_relaxed);
	return UVM_RECLAIM_SUCCESS;
}
