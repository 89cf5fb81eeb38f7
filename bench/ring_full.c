/* SPDX-License-Identifier: MIT */
/*
 * A program with a full reclaim ring: ring_full BYTES REGION. Prints "ready" and then does what it is told, a line each
 * on standard input. Answers are JSON, a line each.
 *
 *	enter		touches BYTES of memory and enters them, REGION bytes an entry
 *	madvise		gives them back by madvise(2) itself, one by one
 *	take		takes all back: how many were reclaimed
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <uvm/reclaim.h>

#include "base/size.h"

static char *memory;
static uint64_t bytes, region;
static uvm_reclaim_ring_t ring;
static uvm_reclaim_id_t *ids;

static int enter(void)
{
	bool update;

	memset(memory, 1, bytes);
	for (uint64_t i = 0; i < bytes / region; i++) {
		if (uvm_reclaim_try_enter(ring, (uintptr_t)memory + i * region, region, UVM_RECLAIM_FREE, &ids[i],
					  &update) ||
		    ids[i] == UVM_RECLAIM_ID_NULL)
			return -1;
	}
	printf("{\"entries\":%" PRIu64 "}\n", bytes / region);
	return 0;
}

static int discard(void)
{
	uint64_t begun = now_us();

	for (uint64_t at = 0; at < bytes; at += region)
		if (madvise(memory + at, region, MADV_DONTNEED))
			return -1;
	printf("{\"time_us\":%" PRIu64 "}\n", now_us() - begun);
	return 0;
}

static int take(void)
{
	uint64_t reclaimed = 0;

	for (uint64_t i = 0; i < bytes / region; i++) {
		uvm_reclaim_state_t state;
		bool update;

		if (uvm_reclaim_try_cancel(ring, ids[i], (uintptr_t)memory + i * region, region, UVM_RECLAIM_FREE,
					   &state, &update))
			return -1;
		reclaimed += state == UVM_RECLAIM_FREED;
		if (state == UVM_RECLAIM_FREED)
			ids[i] = UVM_RECLAIM_ID_NULL;
	}
	printf("{\"reclaimed\":%" PRIu64 "}\n", reclaimed);
	return 0;
}

static int obey(const char *line)
{
	if (strcmp(line, "enter\n") == 0)
		return enter();
	if (strcmp(line, "madvise\n") == 0)
		return discard();
	return strcmp(line, "take\n") == 0 ? take() : -1;
}

int main(int argc, char **argv)
{
	char line[64];
	uvm_reclaim_count_t count;

	if (argc < 3 || size_parse(argv[1], &bytes) || size_parse(argv[2], &region) || !region || bytes < region)
		return 2;
	count = uvm_reclaim_round_capacity((uvm_reclaim_count_t)(bytes / region));
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ids = malloc(bytes / region * sizeof(*ids));
	if (memory == MAP_FAILED || !ids || uvm_reclaim_ring_allocate(&ring, count, count))
		return 1;
	memset(ids, 0xff, bytes / region * sizeof(*ids)); /* UVM_RECLAIM_ID_NULL */
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (obey(line))
			return 1;
		fflush(stdout);
	}
	return 0;
}
