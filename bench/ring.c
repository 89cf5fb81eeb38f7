/* SPDX-License-Identifier: MIT */
/*
 * What it costs to give a region up and take it back: with the reclaim ring, and with madvise(2) on the same region in
 * the same run; alone, and with its pages written to again. Usage: ring. Prints a record a measurement: the median of
 * several runs, all kinds in turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <uvm/reclaim.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "report/report.h"

#define RUNS      21
#define RING_REPS 20000
#define REPS      200

static uvm_reclaim_ring_t ring;
static uvm_reclaim_id_t kept = UVM_RECLAIM_ID_NULL;

struct region_of {
	const char *name;
	uint64_t bytes;
	char *at;
};

static const struct report_column columns[] = {
	{"region", "REGION", COLUMN_TEXT},     {"what", "WHAT", COLUMN_TEXT},
	{"ns", "NS", COLUMN_NUMBER},           {"touched_ns", "NS WITH TOUCHES", COLUMN_NUMBER},
	{"ratio", "TO THE RING", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void touch(const struct region_of *region)
{
	for (uint64_t i = 0; i < region->bytes; i += page_size())
		((volatile char *)region->at)[i] = 1;
}

static bool pair(const struct region_of *region, uvm_reclaim_id_t *id)
{
	uint64_t start = (uintptr_t)region->at;
	uvm_reclaim_state_t state;
	bool update;

	if (uvm_reclaim_try_enter(ring, start, region->bytes, UVM_RECLAIM_FREE, id, &update))
		return false;
	if (*id == UVM_RECLAIM_ID_NULL) /* full of holes */
		return !uvm_reclaim_ring_flush(ring, UINT32_MAX);
	return !uvm_reclaim_try_cancel(ring, *id, start, region->bytes, UVM_RECLAIM_FREE, &state, &update) &&
	       state == UVM_RECLAIM_UNRECLAIMED;
}

static bool new_id(const struct region_of *region)
{
	uvm_reclaim_id_t id = UVM_RECLAIM_ID_NULL;

	return pair(region, &id);
}

static bool same_id(const struct region_of *region)
{
	return pair(region, &kept);
}

static bool advise_free(const struct region_of *region)
{
	return !madvise(region->at, region->bytes, MADV_FREE);
}

static bool advise_dontneed(const struct region_of *region)
{
	return !madvise(region->at, region->bytes, MADV_DONTNEED);
}

static const struct {
	const char *what;
	bool (*run)(const struct region_of *region);
	unsigned int reps;
} kinds[] = {
	{"enter and cancel, new id", new_id, RING_REPS},
	{"enter and cancel, same id", same_id, RING_REPS},
	{"MADV_FREE", advise_free, REPS},
	{"MADV_DONTNEED", advise_dontneed, REPS},
};

/*
 * Without touches the ring is timed over all its runs at once, the others one by one: what they drop has to be there.
 */
static double run(const struct region_of *region, size_t kind, bool touching)
{
	unsigned int reps = touching ? REPS : kinds[kind].reps;
	bool together = touching || reps == RING_REPS;
	double spent = 0, begun = now_ns();

	for (unsigned int i = 0; i < reps; i++) {
		if (!together)
			begun = now_ns();
		if (!kinds[kind].run(region))
			return -1;
		if (!together)
			spent += now_ns() - begun;
		if (!together || touching)
			touch(region);
	}
	return (together ? now_ns() - begun : spent) / reps;
}

static int by_size(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return one < other ? -1 : one > other;
}

static int measure(const struct region_of *region, struct report *report)
{
	double ns[ARRAY_SIZE(kinds)][2][RUNS];

	for (size_t i = 0; i < RUNS; i++) {
		for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
			for (int touching = 0; touching < 2; touching++) {
				touch(region);
				ns[kind][touching][i] = run(region, kind, touching);
				if (ns[kind][touching][i] < 0)
					return -1;
			}
		}
	}
	for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		int result;

		qsort(ns[kind][0], RUNS, sizeof(double), by_size);
		qsort(ns[kind][1], RUNS, sizeof(double), by_size);
		result = report_record(report, json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f}", "type", "measurement",
							 "region", region->name, "what", kinds[kind].what, "bytes",
							 (json_int_t)region->bytes, "ns", ns[kind][0][RUNS / 2],
							 "touched_ns", ns[kind][1][RUNS / 2], "ratio",
							 ns[kind][0][RUNS / 2] / ns[0][0][RUNS / 2]));
		if (result)
			return result;
	}
	return 0;
}

int main(void)
{
	struct region_of regions[] = {{"64 KiB", 64 * KiB, NULL}, {"1 MiB", MiB, NULL}};
	uint32_t capacity = uvm_reclaim_round_capacity(65536);
	struct report *report;
	const char *why;
	int result = 0;

	if (uvm_reclaim_ring_allocate(&ring, capacity, capacity) ||
	    report_open(&report, &(struct report_style){0}, columns, "measurement", &why)) {
		fputs("bench ring: no ring, or no output\n", stderr);
		return 1;
	}
	for (size_t i = 0; !result && i < ARRAY_SIZE(regions); i++) {
		regions[i].at =
			mmap(NULL, regions[i].bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		result = regions[i].at == MAP_FAILED ? -1 : measure(&regions[i], report);
		kept = UVM_RECLAIM_ID_NULL;
	}
	if (result)
		fputs("bench ring: a region was not as it must be, or output failed\n", stderr);
	return report_close(report) || result ? 1 : 0;
}
