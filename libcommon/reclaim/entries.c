/* SPDX-License-Identifier: MIT */
/* Single entries, read while their program goes on. */
#include "reclaim/entries.h"

#include <errno.h>

#include <uvm/reclaim.h>

#include "base/size.h"

const char *ring_state_name(enum ring_state state)
{
	static const char *const names[] = {
		[RING_UNRECLAIMED] = "unreclaimed",
		[RING_BUSY] = "busy",
		[RING_RECLAIMED] = "reclaimed",
		[RING_HOLE] = "hole",
	};

	return names[state];
}

const char *ring_action_name(uint32_t action)
{
	return action == UVM_RECLAIM_FREE ? "free" : action == UVM_RECLAIM_DEALLOCATE ? "deallocate" : "unknown";
}

/*
 * What a program does to its ring while we read makes an answer old, never wrong for the instant of reading; what it
 * lies makes it a lie.
 */
void ring_ids(const struct ring_view *view, uint64_t *first, uint64_t *end)
{
	*first = view->shared->head;
	*end = *first + min_u64(view->shared->tail - *first, view->max_capacity);
}

int ring_entry_at(const struct ring_view *view, uint64_t id, enum ring_state *state, struct ring_work *work)
{
	struct ring_shared *shared = view->shared;
	uint64_t tail = shared->tail;
	uint32_t capacity = shared->capacity;
	const struct ring_entry *entry;

	if (id >= tail || !capacity || capacity > view->max_capacity)
		return -ENOENT;
	entry = &ring_entries_of(shared)[id % capacity];
	*work = (struct ring_work){.id = id, .address = entry->address, .size = entry->size, .action = entry->action};
	if (id < shared->head)
		*state = RING_RECLAIMED;
	else if (!work->action)
		*state = RING_HOLE;
	else
		*state = id < shared->busy ? RING_BUSY : RING_UNRECLAIMED;
	return 0;
}

int ring_region(const struct ring_work *work, struct region *region)
{
	uint64_t page = page_size(), end = work->address + work->size;

	if (work->address % page || !work->size || round_up(end, page) <= work->address)
		return -EINVAL;
	end = work->action == UVM_RECLAIM_FREE ? round_down(end, page) : round_up(end, page);
	*region = (struct region){work->address, end};
	return 0;
}
