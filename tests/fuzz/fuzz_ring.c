/* SPDX-License-Identifier: MIT */
/*
 * A reclaimer's view of a ring of any bytes, in its header, its entries, and again after each claim: never out of
 * bounds, never more than a batch, never without end. Wants clang -fsanitize=fuzzer,address,undefined.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/size.h"
#include "reclaim/entries.h"

#define CAPACITY 64
#define BYTES    (RING_ENTRIES + CAPACITY * sizeof(struct ring_entry))
#define CLAIMS   64

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length);

/* Of the header only what a ring writes, so that not all of the input is spent on its padding. */
static void fill(struct ring_shared *shared, const uint8_t *input, size_t length)
{
	size_t header = length < sizeof(*shared) ? length : sizeof(*shared);

	memset(shared, 0, BYTES);
	memcpy((void *)shared, input, header);
	for (size_t at = header; at < length && at - header < BYTES - RING_ENTRIES; at++)
		((uint8_t *)shared)[RING_ENTRIES + at - header] = input[at];
}

/* Numbers that are nearly right reach further than random ones. */
static void mend(struct ring_shared *shared, uint8_t how)
{
	if (how & 1) {
		shared->fixed.magic = RING_MAGIC;
		shared->fixed.version = RING_VERSION;
	}
	if (how & 2)
		shared->capacity = 1 + shared->capacity % CAPACITY;
	if (how & 4)
		shared->tail = shared->head + shared->tail % (CAPACITY + 2);
	if (how & 8)
		shared->busy = shared->head + shared->busy % (RING_BATCH + 2);
}

static void check_batch(const struct ring_batch *batch)
{
	if (batch->count > RING_BATCH || batch->end - batch->head > RING_BATCH)
		abort();
	for (unsigned int i = 0; i < batch->count; i++) {
		struct region region;

		if (ring_region(&batch->work[i], &region) == 0 &&
		    (region.end < region.start || region_bytes(region) > UINT32_MAX + page_size()))
			abort();
	}
}

static void look(const struct ring_view *view)
{
	uint64_t first, end;

	ring_ids(view, &first, &end);
	if (end - first > CAPACITY)
		abort();
	for (uint64_t id = first; id != end; id++) {
		enum ring_state state;
		struct ring_work work;

		if (ring_entry_at(view, id, &state, &work) == 0)
			ring_state_name(state);
	}
	ring_bytes(view);
	ring_entries(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	static _Alignas(64) unsigned char memory[BYTES];
	struct ring_view view = {.shared = (struct ring_shared *)memory, .max_capacity = CAPACITY};
	struct ring_batch batch;

	if (length < 2)
		return 0;
	fill(view.shared, input + 2, length - 2);
	mend(view.shared, input[0]);
	ring_view_check(&view);
	look(&view);
	for (int i = 0; i < CLAIMS && ring_claim(&view, input[1], &batch) == 1; i++) {
		check_batch(&batch);
		if (batch.count)
			ring_unmapping(&view, batch.work[0].id);
		ring_complete(&view, &batch, batch.count, 0);
		ring_sample(&view, input[1]);
		look(&view);
	}
	return 0;
}
