/* SPDX-License-Identifier: MIT */
/* Decisions of swapctl auto: pages are put out and watched; one that comes back soon is hot, and is left alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "policy/swap_parts.h"

#define WINDOW      (256 * KiB)
#define PROBES      4  /* so many back-off times it takes to try again all that was hot … */
#define ROUNDS_MOST 50 /* … in so many rounds at most … */
#define PROBE_BACK  8  /* … and less, when no more than this part of what was tried came back */
#define FORGET      4  /* a page is as good as new after so many times in peace as it would be left alone for next */

/* Milliseconds that have passed since a page left, or was used; that may have been after the last look at the clock. */
static uint64_t age_of(const struct policy *policy, const struct page_shadow *shadow)
{
	return policy->machine.now_ms - min_u64(policy->machine.now_ms, shadow->ms);
}

static uint64_t alone_of(const struct policy *policy, const struct page_shadow *shadow)
{
	return policy_time_alone(policy, shadow->times ? shadow->times - 1u : 0);
}

/* Longer each time. Returns for how long. */
static uint64_t leave_alone(const struct policy *policy, struct page_shadow *shadow, uint64_t from_ms)
{
	if (shadow->times <= TIMES_MAX)
		shadow->times++;
	shadow->ms = from_ms;
	shadow->state = SHADOW_HOT;
	return alone_of(policy, shadow);
}

/* Whether as much has left and come back since `ms` as was resident then. */
static bool is_turned_over(const struct policy_process *process, uint64_t ms)
{
	for (unsigned int i = 0; i < TURNS && process->history.turns[i].ms; i++)
		if (process->history.turns[i].ms <= ms)
			return process->history.age - process->history.turns[i].age >=
			       process->history.turns[i].resident;
	return false;
}

/* What lies between hot pages has come back beside them, and would again: where most of a window is hot, all of it is.
 */
static void heat_window(struct policy_process *process, uint64_t address, const struct page_shadow *hot)
{
	struct page_shadow *pages = shadow_find(&process->shadows, round_down(address, WINDOW));
	size_t count = WINDOW / page_size();
	size_t warm = 0;

	for (size_t i = 0; i < count; i++)
		warm += pages[i].times > 0;
	for (size_t i = 0; i < count && warm >= count - count / 4; i++) {
		if (pages[i].state == SHADOW_OUT && pages[i].times)
			process->probe.back += page_size();
		if (pages[i].state != SHADOW_HOT)
			pages[i] = *hot;
	}
}

static void judge_page(struct policy_process *process, struct page_shadow *shadow, uint64_t address, uint64_t at_ms)
{
	const struct policy *policy = process->policy;
	uint64_t left_ms = shadow->ms;
	uint64_t after = at_ms > left_ms ? at_ms - left_ms : 0;
	uint64_t alone;

	if (after >= policy->params.backoff_ms ||
	    ((policy->params.when & POLICY_TARGET) && is_turned_over(process, left_ms))) {
		*shadow = (struct page_shadow){0};
		return;
	}
	process->probe.back += shadow->times ? page_size() : 0;
	alone = leave_alone(policy, shadow, max_u64(at_ms, left_ms));
	process->history.age += page_size();
	heat_window(process, address, shadow);
	policy_emit(process, "leave", "refault", region_at(address, page_size()),
		    NUMBERS({"after_ms", after}, {"backoff_ms", policy->params.backoff_ms}, {"times", shadow->times},
			    {"alone_ms", alone}));
}

uint64_t policy_refaulted(struct policy_process *process, struct region region, uint64_t at_ms)
{
	uint64_t pages = 0;

	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		struct page_shadow *shadow = shadow_find(&process->shadows, at);

		if (!shadow) {
			at = min_u64(shadow_next(&process->shadows, at), region.end) - page_size();
		} else if (shadow->state == SHADOW_OUT) {
			judge_page(process, shadow, at, at_ms);
			pages++;
		}
	}
	return pages;
}

int policy_accessed(struct policy_process *process, struct region region)
{
	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		struct page_shadow *shadow = shadow_add(&process->shadows, at);

		if (!shadow)
			return -ENOMEM;
		shadow->ms = process->policy->machine.now_ms;
		shadow->state = SHADOW_HOT;
	}
	return 0;
}

/* For how long a page is still left alone. */
static uint64_t left_alone(const struct policy *policy, const struct page_shadow *shadow)
{
	uint64_t alone = alone_of(policy, shadow);
	uint64_t age = age_of(policy, shadow);

	return shadow->state == SHADOW_HOT && age < alone ? alone - age : 0;
}

static struct policy_candidate *find_candidate(struct policy_process *process, uint64_t start)
{
	size_t count = process->candidate_count;
	struct policy_candidate *last;

	if (count && process->candidates[count - 1].start == start)
		return &process->candidates[count - 1];
	if (array_reserve(&process->candidates, process->candidate_count, &process->candidate_size) < 0)
		return NULL;
	last = &process->candidates[process->candidate_count++];
	*last = (struct policy_candidate){.start = start, .first = process->runs.count, .left_ms = NEVER};
	return last;
}

static int add_run(struct policy_process *process, struct policy_candidate *candidate, struct region run)
{
	struct region_vec *runs = &process->runs;

	candidate->bytes += region_bytes(run);
	if (candidate->count && runs->items[runs->count - 1].end == run.start) {
		runs->items[runs->count - 1].end = run.end;
		return 0;
	}
	candidate->count++;
	return region_vec_push(runs, run);
}

static void begin_probe(struct policy_process *process)
{
	struct policy_probe *probe = &process->probe;
	const struct policy_params *params = &process->policy->params;
	uint64_t rounds = min_u64(PROBES * params->backoff_ms / params->interval_ms, ROUNDS_MOST);
	uint64_t least = max_u64(process->seen.resident / max_u64(rounds, 1), WINDOW);

	if (!probe->out || probe->back > probe->out / PROBE_BACK)
		probe->bytes = least;
	else
		probe->bytes = min_u64(2 * probe->bytes, process->seen.resident);
	probe->left = max_u64(probe->bytes, least);
	probe->out = probe->back = 0;
}

/* Whether one more page that was hot may leave in this round. */
static bool take_probe(struct policy_process *process)
{
	if (process->probe.left < page_size())
		return false;
	process->probe.left -= page_size();
	return true;
}

/* For how long a resident page stays at least; 1 when only others are tried again in this round. */
static uint64_t hold_page(struct policy_process *process, struct page_shadow *shadow)
{
	uint64_t left = left_alone(process->policy, shadow);
	uint64_t now = process->policy->machine.now_ms;

	if (left || !shadow->times || take_probe(process))
		return left;
	shadow->ms = now - min_u64(now, alone_of(process->policy, shadow));
	return 1; /* it is not forgotten before its turn */
}

/* A part of one superpage. */
static int offer_part(struct policy_process *process, struct region part)
{
	struct page_shadow *shadow = shadow_find(&process->shadows, part.start);
	struct policy_candidate *candidate = find_candidate(process, round_down(part.start, SUPERPAGE));
	int rc = 0;

	if (!candidate)
		return -ENOMEM;
	if (!shadow)
		return add_run(process, candidate, part);
	for (uint64_t at = part.start; rc == 0 && at < part.end; at += page_size(), shadow++) {
		uint64_t left = hold_page(process, shadow);

		if (left) {
			candidate->hot_bytes += page_size();
			candidate->left_ms = min_u64(candidate->left_ms, left);
			continue;
		}
		candidate->times += shadow->times;
		rc = add_run(process, candidate, region_at(at, page_size()));
	}
	return rc;
}

int policy_candidate(struct policy_process *process, struct region region)
{
	int rc = 0;

	if (!process->candidate_count)
		begin_probe(process);
	while (rc == 0 && region.start < region.end) {
		uint64_t end = min_u64(round_down(region.start, SUPERPAGE) + SUPERPAGE, region.end);

		rc = offer_part(process, (struct region){region.start, end});
		region.start = end;
	}
	return rc;
}

/* What has never come back soon goes first, then what frees most. */
static int compare_candidates(const void *a, const void *b)
{
	const struct policy_candidate *x = a;
	const struct policy_candidate *y = b;

	if (x->times * y->bytes != y->times * x->bytes)
		return x->times * y->bytes < y->times * x->bytes ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

static bool is_peaceful(void *context, const struct page_shadow *shadow)
{
	const struct policy *policy = context;
	uint64_t alone = shadow->state == SHADOW_HOT ? alone_of(policy, shadow) : 0;

	return age_of(policy, shadow) >= alone + FORGET * policy_time_alone(policy, shadow->times);
}

/* Superpages of which nothing may leave are no candidates. */
static void drop_hot_candidates(struct policy_process *process)
{
	size_t kept = 0;

	for (size_t i = 0; i < process->candidate_count; i++) {
		const struct policy_candidate *c = &process->candidates[i];

		if (c->bytes)
			process->candidates[kept++] = *c;
		else
			policy_emit(process, "leave", "back-off", region_at(c->start, SUPERPAGE),
				    NUMBERS({"hot_bytes", c->hot_bytes}, {"left_ms", c->left_ms}));
	}
	process->candidate_count = kept;
}

/* Whether all that may leave, in this round or a later one, is enough for a session. */
static bool would_pay(const struct policy_process *process)
{
	uint64_t least = process->policy->params.min_saved;
	uint64_t all = 0;

	for (size_t i = 0; i < process->candidate_count; i++)
		all += process->candidates[i].bytes;
	if (process->seen.served || all >= least)
		return true;
	policy_emit(process, "wait", "saves-little", NOWHERE,
		    NUMBERS({"resident_bytes", all}, {"min_saved_bytes", least}));
	return false;
}

static void begin_turn(struct policy_process *process)
{
	memmove(process->history.turns + 1, process->history.turns, (TURNS - 1) * sizeof(*process->history.turns));
	process->history.turns[0] =
		(struct policy_turn){process->policy->machine.now_ms, process->history.age, process->seen.resident};
}

/* No more than so many bytes of it. */
static int choose_runs(const struct policy_process *process, const struct policy_candidate *candidate, uint64_t bytes,
		       struct region_vec *regions)
{
	for (size_t i = 0; i < candidate->count && bytes; i++) {
		struct region run = process->runs.items[candidate->first + i];

		run.end = run.start + min_u64(region_bytes(run), bytes);
		bytes -= region_bytes(run);
		if (region_vec_push(regions, run) < 0)
			return -ENOMEM;
	}
	return 0;
}

int policy_choose(struct policy_process *process, uint64_t bytes, struct region_vec *regions)
{
	const unsigned int most = process->policy->params.regions_per_round;
	uint64_t planned = 0;
	size_t count = 0;

	shadows_forget(&process->shadows, is_peaceful, process->policy);
	drop_hot_candidates(process);
	if (!would_pay(process))
		return 0;
	begin_turn(process);
	qsort(process->candidates, process->candidate_count, sizeof(*process->candidates), compare_candidates);
	for (; count < process->candidate_count && count < most && planned < bytes; count++) {
		const struct policy_candidate *c = &process->candidates[count];

		if (choose_runs(process, c, bytes - planned, regions) < 0)
			return -ENOMEM;
		policy_emit(process, "stage", "cold", region_at(c->start, SUPERPAGE),
			    NUMBERS({"resident_bytes", c->bytes + c->hot_bytes}, {"hot_bytes", c->hot_bytes},
				    {"times", c->times}, {"used_bytes", process->seen.used},
				    {bytes == NEVER ? NULL : "budget_bytes", bytes - planned}));
		planned += min_u64(c->bytes, bytes - planned);
	}
	if (count < process->candidate_count)
		policy_emit(process, "leave", count == most ? "regions-per-round" : "budget", NOWHERE,
			    NUMBERS({"regions", process->candidate_count - count}, {"staged_regions", count},
				    {bytes == NEVER ? NULL : "budget_bytes", bytes}));
	if (!count)
		policy_emit(process, "wait", "nothing", NOWHERE, NUMBERS({"resident_bytes", process->seen.resident}));
	region_vec_sort(regions);
	return 0;
}

/* Nothing of a region could be moved. */
static int leave_refused(struct policy_process *process, struct region region)
{
	struct page_shadow *shadow = NULL;
	uint64_t alone = 0;

	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		shadow = shadow_add(&process->shadows, at);
		if (!shadow)
			return -ENOMEM;
		alone = max_u64(alone, leave_alone(process->policy, shadow, process->policy->machine.now_ms));
	}
	policy_emit(process, "leave", "refused", region,
		    NUMBERS({"times", shadow ? shadow->times : 0}, {"alone_ms", alone}));
	return 0;
}

int policy_staged(struct policy_process *process, struct region region, uint64_t moved)
{
	const struct policy *policy = process->policy;
	uint64_t now = policy->machine.now_ms;

	if (!moved)
		return leave_refused(process, region);
	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		struct page_shadow *shadow = shadow_add(&process->shadows, at);

		if (!shadow)
			return -ENOMEM;
		process->probe.out += shadow->times ? page_size() : 0;
		shadow->ms = now;
		shadow->state = SHADOW_OUT;
	}
	process->staged_ms = now;
	process->history.age += moved;
	process->history.turns[0].age = process->history.age;
	process->seen.resident -= min_u64(process->seen.resident, moved);
	process->writeback_ms = min_u64(process->writeback_ms, now + policy->params.stage_ms);
	return 0;
}
