/* SPDX-License-Identifier: MIT */
/* Decisions of swapctl auto: pages are put out and watched; one that comes back soon is hot, and is left alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/size.h"
#include "policy/swap_parts.h"

#define FORGET      4          /* … and all is forgotten after so many of it in peace */

static bool is_before(const void *known, const void *start)
{
	return ((const struct known *)known)->start < *(const uint64_t *)start;
}

/* The place of a superpage among what is known: its own, or that of the next one. */
static size_t place_of(const struct policy_process *process, uint64_t start)
{
	return first_not_before(process->known, process->known_count, sizeof(*process->known), is_before, &start);
}

static struct known *find_known(const struct policy_process *process, uint64_t start)
{
	size_t at = place_of(process, start);

	return at < process->known_count && process->known[at].start == start ? &process->known[at] : NULL;
}

static struct known *find_or_add(struct policy_process *process, uint64_t start)
{
	size_t at = place_of(process, start);
	struct known *known = find_known(process, start);

	if (known)
		return known;
	if (array_reserve(&process->known, process->known_count, &process->known_size) < 0)
		return NULL;
	known = &process->known[at];
	memmove(known + 1, known, (process->known_count++ - at) * sizeof(*known));
	*known = (struct known){.start = start};
	return known;
}

/* Longer each time. Returns for how long. */
static uint64_t leave_alone(const struct policy *policy, struct known *known, uint64_t from_ms)
{
	uint64_t alone = policy_time_alone(policy, known->times);

	known->until_ms = from_ms + alone;
	known->staged_ms = 0;
	if (known->times < TIMES_MAX)
		known->times++;
	return alone;
}

void policy_refaulted(struct policy_process *process, uint64_t superpage, uint64_t pages, uint64_t at_ms)
{
	const struct policy *policy = process->policy;
	struct known *known = find_known(process, superpage);
	uint64_t after;
	uint64_t alone;

	if (!known || !known->staged_ms)
		return; /* it was not staged here, or has been judged for it */
	after = at_ms > known->staged_ms ? at_ms - known->staged_ms : 0;
	if (after >= policy->params.backoff_ms) {
		known->staged_ms = 0;
		return;
	}
	alone = leave_alone(policy, known, max_u64(at_ms, known->staged_ms));
	policy_emit(process, "leave", "refault", (struct region){superpage, superpage + SUPERPAGE},
		      NUMBERS({"refaulted_pages", pages}, {"after_ms", after},
			      {"backoff_ms", policy->params.backoff_ms}, {"times", known->times}, {"alone_ms", alone}));
}

int policy_candidate(struct policy_process *process, struct region region, uint64_t resident)
{
	uint64_t now = process->policy->machine.now_ms;
	const struct known *known = find_known(process, round_down(region.start, SUPERPAGE));

	if (known && known->until_ms > now) {
		policy_emit(process, "leave", "back-off", region,
			      NUMBERS({"resident_bytes", resident}, {"times", known->times},
				      {"left_ms", known->until_ms - now}));
		return 0;
	}
	if (array_reserve(&process->candidates, process->candidate_count, &process->candidate_size) < 0)
		return -ENOMEM;
	process->candidates[process->candidate_count++] =
		(struct candidate){region, resident, known ? known->times : 0};
	return 0;
}

/* What has never come back soon goes first, then what frees most. */
static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a;
	const struct candidate *y = b;

	if (x->times != y->times)
		return x->times < y->times ? -1 : 1;
	if (x->resident != y->resident)
		return x->resident > y->resident ? -1 : 1;
	return x->region.start < y->region.start ? -1 : x->region.start > y->region.start;
}

/* Superpages that have been in peace for long enough are as good as new ones. */
static void forget_peaceful(struct policy_process *process)
{
	uint64_t now = process->policy->machine.now_ms;
	size_t kept = 0;

	for (size_t i = 0; i < process->known_count; i++) {
		struct known *known = &process->known[i];
		uint64_t peace = FORGET * policy_time_alone(process->policy, known->times);

		if (now < max_u64(known->until_ms, known->staged_ms) + peace)
			process->known[kept++] = *known;
	}
	process->known_count = kept;
}

/* Whether all that may leave, in this round or a later one, is enough for a session. */
static bool would_pay(const struct policy_process *process)
{
	uint64_t least = process->policy->params.min_saved;
	uint64_t all = 0;

	for (size_t i = 0; i < process->candidate_count; i++)
		all += process->candidates[i].resident;
	if (process->seen.served || all >= least)
		return true;
	policy_emit(process, "wait", "saves-little", NOWHERE,
		      NUMBERS({"resident_bytes", all}, {"min_saved_bytes", least}));
	return false;
}

int policy_choose(struct policy_process *process, uint64_t bytes, struct region_vec *regions)
{
	const unsigned int most = process->policy->params.regions_per_round;
	uint64_t planned = 0;
	size_t count = 0;

	forget_peaceful(process);
	if (!would_pay(process))
		return 0;
	qsort(process->candidates, process->candidate_count, sizeof(*process->candidates), compare_candidates);
	for (; count < process->candidate_count && count < most && planned < bytes; count++) {
		const struct candidate *c = &process->candidates[count];

		if (region_vec_push(regions, c->region) < 0)
			return -ENOMEM;
		policy_emit(process, "stage", "cold", c->region,
			      NUMBERS({"resident_bytes", c->resident}, {"times", c->times},
				      {"used_bytes", process->seen.used},
				      {bytes == NEVER ? NULL : "budget_bytes", bytes - planned}));
		planned += min_u64(c->resident, bytes - planned);
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

int policy_staged(struct policy_process *process, uint64_t superpage, uint64_t moved)
{
	const struct policy *policy = process->policy;
	uint64_t now = policy->machine.now_ms;
	struct known *known = find_or_add(process, round_down(superpage, SUPERPAGE));

	if (!known)
		return -ENOMEM;
	if (!moved) {
		uint64_t alone = leave_alone(policy, known, now);

		policy_emit(process, "leave", "refused", (struct region){superpage, superpage + SUPERPAGE},
			      NUMBERS({"times", known->times}, {"alone_ms", alone}));
		return 0;
	}
	known->staged_ms = process->staged_ms = now;
	process->seen.resident -= min_u64(process->seen.resident, moved);
	process->writeback_ms = min_u64(process->writeback_ms, now + policy->params.stage_ms);
	return 0;
}
