/* SPDX-License-Identifier: MIT */
/*
 * What the policy of swapctl auto would do to a program like redis, without one: auto_policy [SECONDS]. Simulates its
 * memory and requests, on a clock of its own, over libcommon/policy/, which makes no system call. Prints a record for
 * each combination of knobs, and a table on standard error.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "policy/swap.h"

#define BASE       UINT64_C(0x7f0000000000)
#define SUPERPAGE  (2 * MiB)
#define PAGE       4096
#define CELL       16   /* pages in which the values, keys and entries of neighbours lie … */
#define VALUES     14   /* … the values in these, keys and entries in the others */
#define KEYS       130  /* in a cell */
#define CELLS      2048 /* 128 MiB */
#define TABLE      512  /* pages of the hash table, behind the cells */
#define PAGES      (CELLS * CELL + TABLE)
#define RATE       1000 /* requests a second */
#define TICK_MS    10
#define REQUEST_US 50 /* one in core */
#define FAULT_US   15 /* what one page adds */
#define SETTLE     2  /* the first half is not counted */
#define REFAULTS   (1 << 20)

struct knobs {
	const char *name;
	uint64_t window; /* stays with a hot page */
	uint64_t interval_ms, backoff_ms;
	unsigned int brought; /* pages a fault */
};

struct refault {
	unsigned int page;
	uint64_t ms;
};

struct simulation {
	const struct knobs *knobs;
	struct policy *policy;
	struct policy_process *process;
	struct policy_machine machine;
	uint64_t resident;
	uint64_t faults, requests, resident_sum, ticks; /* of what is counted */
	uint64_t random;
	size_t refault_count;
	struct refault refaults[REFAULTS];
	bool out[PAGES];
};

static uint64_t next_random(struct simulation *s, uint64_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random % below;
}

static void touch_page(struct simulation *s, unsigned int page)
{
	unsigned int first = page - page % s->knobs->brought;

	if (!s->out[page])
		return;
	s->faults++;
	if (s->refault_count < REFAULTS)
		s->refaults[s->refault_count++] = (struct refault){page, s->machine.now_ms};
	for (unsigned int i = first; i < first + s->knobs->brought && i < PAGES; i++) {
		s->resident += s->out[i];
		s->out[i] = false;
	}
}

/* The entry of a key, and the key itself. */
static void touch_entry(struct simulation *s, unsigned int key)
{
	unsigned int cell = key / KEYS;

	touch_page(s, cell * CELL + VALUES);
	touch_page(s, cell * CELL + VALUES + 1);
}

/* A chain of the table has an entry more at every second look. */
static void get_key(struct simulation *s, unsigned int key)
{
	touch_page(s, CELLS * CELL + (unsigned int)(key * UINT64_C(2654435761) % TABLE));
	if (key % 2)
		touch_entry(s, (unsigned int)(key * UINT64_C(40503) % (CELLS * KEYS)));
	touch_entry(s, key);
	touch_page(s, key / KEYS * CELL + key % KEYS * VALUES / KEYS);
}

static unsigned int uniform_key(struct simulation *s)
{
	return (unsigned int)next_random(s, CELLS * KEYS);
}

static unsigned int tenth_key(struct simulation *s)
{
	return (unsigned int)next_random(s, CELLS * KEYS / 10);
}

static unsigned int skewed_key(struct simulation *s)
{
	return next_random(s, 10) ? tenth_key(s) : uniform_key(s);
}

/* Another tenth each five minutes. */
static unsigned int moving_key(struct simulation *s)
{
	return (tenth_key(s) + (unsigned int)(s->machine.now_ms / 300000) * CELLS * KEYS / 10) % (CELLS * KEYS);
}

static const struct pattern {
	const char *name;
	unsigned int (*key)(struct simulation *);
} patterns[] = {{"uniform", uniform_key}, {"skewed", skewed_key}, {"tenth", tenth_key}, {"moving", moving_key}};

static int offer_resident(struct simulation *s)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < PAGES; i++)
		if (!s->out[i])
			rc = policy_candidate(s->process, (struct region){BASE + i * (uint64_t)PAGE,
									  BASE + (i + 1) * (uint64_t)PAGE});
	return rc;
}

static int stage_region(struct simulation *s, struct region region)
{
	for (uint64_t at = region.start; at < region.end; at += PAGE) {
		s->out[(at - BASE) / PAGE] = true;
		s->resident--;
	}
	return policy_staged(s->process, region, region_bytes(region));
}

static int run_round(struct simulation *s)
{
	const struct policy_observation seen = {.resident = s->resident * PAGE, .served = true};
	_cleanup_regions_ struct region_vec regions = {0};
	uint64_t bytes;
	int rc = 0;

	for (size_t i = 0; i < s->refault_count; i++) {
		uint64_t start = BASE + s->refaults[i].page * (uint64_t)PAGE;

		policy_refaulted(s->process, (struct region){start, start + PAGE}, s->refaults[i].ms);
		start = round_down(start, s->knobs->window);
		if (s->knobs->window > PAGE &&
		    policy_accessed(s->process, (struct region){start, start + s->knobs->window}))
			return -1;
	}
	s->refault_count = 0;
	policy_observe(s->process, &seen);
	bytes = policy_round(s->process);
	if (bytes)
		rc = offer_resident(s);
	if (bytes && rc == 0)
		rc = policy_choose(s->process, bytes, &regions);
	for (size_t i = 0; rc == 0 && i < regions.count; i++)
		rc = stage_region(s, regions.items[i]);
	return rc;
}

static int run_ticks(struct simulation *s, const struct pattern *pattern, unsigned int seconds)
{
	const uint64_t begin = s->machine.now_ms;
	const uint64_t middle = begin + seconds * UINT64_C(1000) / SETTLE;
	int rc = 0;

	for (; rc == 0 && s->machine.now_ms < begin + seconds * UINT64_C(1000); s->machine.now_ms += TICK_MS) {
		if (s->machine.now_ms == middle)
			s->faults = s->requests = s->resident_sum = s->ticks = 0;
		policy_observe_machine(s->policy, &s->machine);
		if (policy_due(s->process))
			rc = run_round(s);
		for (unsigned int i = 0; i < RATE * TICK_MS / 1000; i++, s->requests++)
			get_key(s, pattern->key(s));
		s->resident_sum += s->resident;
		s->ticks++;
	}
	return rc;
}

static void print_result(const struct simulation *s, const struct pattern *pattern)
{
	double saved = 100 - 100.0 * (double)s->resident_sum / (double)s->ticks / PAGES;
	double slower = 100.0 * (double)s->faults * FAULT_US / ((double)s->requests * REQUEST_US);

	printf("{\"v\":1,\"type\":\"bench\",\"name\":\"auto-policy\",\"gets\":\"%s\",\"hot\":\"%s\",\"interval_ms\":"
	       "%" PRIu64 ",\"backoff_ms\":%" PRIu64 ",\"brought_pages\":%u,\"saved_percent\":%.1f,\"faults\":%" PRIu64
	       ",\"requests\":%" PRIu64 ",\"slower_percent\":%.2f}\n",
	       pattern->name, s->knobs->name, s->knobs->interval_ms, s->knobs->backoff_ms, s->knobs->brought, saved,
	       s->faults, s->requests, slower);
	fprintf(stderr, "%-8s %-10s %8" PRIu64 " %8" PRIu64 " %8u %8.1f %10.4f %8.2f\n", pattern->name, s->knobs->name,
		s->knobs->interval_ms / 1000, s->knobs->backoff_ms / 1000, s->knobs->brought, saved,
		(double)s->faults / (double)s->requests, slower);
}

static int simulate_knobs(struct simulation *s, const struct knobs *knobs, const struct pattern *pattern,
			  unsigned int seconds)
{
	const struct policy_params params = {
		.backoff_ms = knobs->backoff_ms,
		.interval_ms = knobs->interval_ms,
		.regions_per_round = 100,
	};
	int rc = -1;

	memset(s, 0, sizeof(*s));
	s->machine = (struct policy_machine){.now_ms = 1, .free_bytes = UINT64_MAX};
	s->knobs = knobs;
	s->random = 88172645463325252;
	s->resident = PAGES;
	s->policy = policy_new(&params, NULL, NULL);
	if (s->policy)
		s->process = policy_process_new(s->policy, 1, 1);
	if (s->process)
		rc = run_ticks(s, pattern, seconds);
	if (rc == 0)
		print_result(s, pattern);
	policy_free(s->policy);
	return rc;
}

/* What stays with a hot page; the times; how many pages a fault brings. */
static const struct knobs choices[] = {
	{"superpage", SUPERPAGE, 10000, 45000, 1}, {"cluster", 64 * KiB, 10000, 45000, 1},
	{"page", PAGE, 10000, 45000, 1},           {"page", PAGE, 30000, 45000, 1},
	{"page", PAGE, 120000, 45000, 1},          {"page", PAGE, 10000, 15000, 1},
	{"page", PAGE, 10000, 120000, 1},          {"superpage", SUPERPAGE, 10000, 45000, 16},
	{"cluster", 64 * KiB, 10000, 45000, 16},   {"page", PAGE, 10000, 45000, 16},
	{"page", PAGE, 30000, 45000, 16},          {"page", PAGE, 120000, 45000, 16},
};

int main(int argc, char **argv)
{
	static struct simulation simulation;
	unsigned int seconds = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 3600;

	fprintf(stderr, "%-8s %-10s %8s %8s %8s %8s %10s %8s\n", "GETs", "hot", "interval", "back-off", "brought",
		"saved %", "faults/GET", "slower %");
	for (size_t p = 0; p < sizeof(patterns) / sizeof(*patterns); p++)
		for (size_t k = 0; k < sizeof(choices) / sizeof(*choices); k++)
			if (simulate_knobs(&simulation, &choices[k], &patterns[p], seconds) < 0)
				return 1;
	return 0;
}
