/* SPDX-License-Identifier: MIT */
/* Decisions of swapctl auto: candidates are put out and watched; what comes back soon is hot, and left alone. */
#include "policy/swap.h"
#include <errno.h>
/* Decisions of swapctl auto: when to take something out of which process, how much, and whether it pays. */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/size.h"

#define NEVER       UINT64_MAX
#define SUPERPAGE   (2 * MiB)
#define PROBE       100        /* a round of POLICY_HOLD takes at most this part, as senpai does */
#define TIMES_MAX   10         /* the time to be left alone doubles so often */
#define FORGET      4          /* … and all is forgotten after so many of it in peace */
#define DOUBLED_MAX 7          /* 128 times that: everything */
#define RETRY_MS    60000      /* a write-back that could not be */
#define RETRY_LEFT  1000       /* what was being asked for when it was to be written */
#define LIMIT_SPARE 64         /* this part of a limit is kept for what records have beside their pages */
#define LITTLE      2          /* this part of what a session must save is not worth keeping it */
#define FORK_SAVES  (16 * MiB) /* must be out for each fork a second: in a session a fork takes about 20 ms longer */

/* A superpage of which something is known. */
struct known {
	uint64_t start;
	uint64_t staged_ms; /* 0: it has been judged since */
	uint64_t until_ms;  /* to be left alone */
	unsigned int times; /* that it was */
};

struct candidate {
	struct region region;
	uint64_t resident;
	unsigned int times;
};

struct policy_process {
	struct policy *policy;
	struct policy_process *next;
	int pid;
	uint64_t starttime;
	struct policy_observation seen;
	uint64_t due_ms;
	uint64_t writeback_ms;
	uint64_t mark_ms, mark_us; /* when the pressure was read last, and what it was */
	uint64_t forks_ms, forks;  /* when forks were counted last, and how many there were; 0: not in this session */
	uint64_t staged_ms;        /* when something left last */
	unsigned int unpaid;       /* sessions that did not pay */
	struct known *known;       /* sorted */
	size_t known_count, known_size;
	struct candidate *candidates;
	size_t candidate_count, candidate_size;
};

struct policy {
	struct policy_params params;
	struct policy_machine machine;
	struct policy_process *processes;
	policy_fn explain;
	void *context;
};

struct policy *policy_new(const struct policy_params *params, policy_fn explain, void *context)
{
	struct policy *policy = calloc(1, sizeof(*policy));

	if (policy)
		*policy = (struct policy){.params = *params, .explain = explain, .context = context};
	return policy;
}

void policy_free(struct policy *policy)
{
	while (policy && policy->processes)
		policy_process_free(policy->processes);
	free(policy);
}

void policy_observe_machine(struct policy *policy, const struct policy_machine *machine)
{
	policy->machine = *machine;
}

struct policy_process *policy_process_new(struct policy *policy, int pid, uint64_t starttime)
{
	struct policy_process *process = calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	process->policy = policy;
	process->pid = pid;
	process->starttime = starttime;
	process->writeback_ms = NEVER;
	process->next = policy->processes;
	policy->processes = process;
	return process;
}

void policy_process_free(struct policy_process *process)
{
	struct policy_process **at = &process->policy->processes;

	while (*at != process)
		at = &(*at)->next;
	*at = process->next;
	free(process->known);
	free(process->candidates);
	free(process);
}

void policy_observe(struct policy_process *process, const struct policy_observation *observation)
{
	process->seen = *observation;
	if (observation->pool && process->writeback_ms == NEVER)
		process->writeback_ms = process->policy->machine.now_ms + process->policy->params.stage_ms;
}

static void emit_decision(const struct policy_process *process, const char *op, const char *why, struct region region,
			  const struct policy_number numbers[POLICY_NUMBERS])
{
	const struct policy *policy = process->policy;
	struct policy_decision decision = {
		.pid = process->pid, .starttime = process->starttime, .op = op, .why = why, .region = region};

	if (!policy->explain)
		return;
	memcpy(decision.numbers, numbers, sizeof(decision.numbers));
	policy->explain(policy->context, &decision);
}

#define NUMBERS(...) ((const struct policy_number[POLICY_NUMBERS]){__VA_ARGS__})
#define NOWHERE      ((struct region){0, 0})

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

static uint64_t time_alone(const struct policy *policy, unsigned int times)
{
	return policy->params.backoff_ms << times;
}

/* Longer each time. Returns for how long. */
static uint64_t leave_alone(const struct policy *policy, struct known *known, uint64_t from_ms)
{
	uint64_t alone = time_alone(policy, known->times);

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
	emit_decision(process, "leave", "refault", (struct region){superpage, superpage + SUPERPAGE},
		      NUMBERS({"refaulted_pages", pages}, {"after_ms", after},
			      {"backoff_ms", policy->params.backoff_ms}, {"times", known->times}, {"alone_ms", alone}));
}

void policy_postpone(struct policy_process *process, uint64_t ms)
{
	uint64_t now = process->policy->machine.now_ms;

	process->due_ms = ms < NEVER - now ? now + ms : NEVER;
	process->writeback_ms = max_u64(process->writeback_ms, process->due_ms);
}

void policy_refaults_lost(struct policy_process *process, uint64_t pages)
{
	const struct policy *policy = process->policy;

	process->due_ms = policy->machine.now_ms + policy->params.backoff_ms;
	emit_decision(process, "wait", "refaults-lost", NOWHERE,
		      NUMBERS({"refaulted_pages", pages}, {"alone_ms", policy->params.backoff_ms}));
}

/* Forks that take longer than what is out is worth. */
static bool forks_much(struct policy_process *process)
{
	const struct policy *policy = process->policy;
	uint64_t now = policy->machine.now_ms;
	uint64_t elapsed = now - process->forks_ms;
	uint64_t forks = process->seen.forks - min_u64(process->seen.forks, process->forks);
	bool counted = process->forks_ms && elapsed;

	process->forks_ms = now;
	process->forks = process->seen.forks;
	if (!counted || process->seen.out >= forks * FORK_SAVES / elapsed * 1000)
		return false;
	emit_decision(process, "end", "forks", NOWHERE,
		      NUMBERS({"forks", forks}, {"elapsed_us", elapsed * 1000}, {"out_bytes", process->seen.out}));
	return true;
}

/* What was out has come back, and nothing has left for a while. */
static bool saves_little(const struct policy_process *process)
{
	const struct policy *policy = process->policy;

	if (process->seen.out >= policy->params.min_saved / LITTLE ||
	    policy->machine.now_ms < process->staged_ms + policy->params.backoff_ms)
		return false;
	emit_decision(process, "end", "little-out", NOWHERE,
		      NUMBERS({"out_bytes", process->seen.out}, {"min_saved_bytes", policy->params.min_saved}));
	return true;
}

bool policy_pays(struct policy_process *process)
{
	const struct policy *policy = process->policy;

	if (!policy->params.min_saved || (!forks_much(process) && !saves_little(process)))
		return true;
	process->due_ms = policy->machine.now_ms + time_alone(policy, process->unpaid);
	process->forks_ms = process->forks = 0;
	if (process->unpaid < TIMES_MAX)
		process->unpaid++;
	return false;
}

static uint64_t total_of(const struct policy *policy, bool resident)
{
	uint64_t sum = 0;

	for (const struct policy_process *p = policy->processes; p; p = p->next)
		sum += resident ? p->seen.resident : p->seen.used;
	return sum;
}

static uint64_t to_target(const struct policy_process *process)
{
	const struct policy *policy = process->policy;
	uint64_t resident = total_of(policy, true);

	if (resident > policy->params.target)
		return resident - policy->params.target;
	emit_decision(process, "wait", "target", NOWHERE,
		      NUMBERS({"total_resident_bytes", resident}, {"target_bytes", policy->params.target}));
	return 0;
}

/*
 * As senpai does: a little each time while the pressure is below what is to be held, less the nearer it comes. The
 * kernel counts no wait for a page that a program brings back, so those of the process are added.
 */
static uint64_t to_pressure(struct policy_process *process)
{
	const struct policy *policy = process->policy;
	uint64_t now_us = policy->machine.stalled_us + process->seen.stalled_us;
	uint64_t elapsed_us = (policy->machine.now_ms - process->mark_ms) * 1000;
	uint64_t stalled = now_us - min_u64(now_us, process->mark_us);
	uint64_t allowed = elapsed_us * policy->params.hold_ppm / 1000000;
	bool first = !process->mark_ms;

	process->mark_ms = policy->machine.now_ms;
	process->mark_us = now_us;
	if (first) {
		emit_decision(process, "wait", "first-look", NOWHERE, NUMBERS({"hold_ppm", policy->params.hold_ppm}));
		return 0;
	}
	if (stalled < allowed)
		return (uint64_t)((double)process->seen.resident / PROBE * (double)(allowed - stalled) /
				  (double)allowed);
	emit_decision(process, "wait", "pressure", NOWHERE,
		      NUMBERS({"stalled_us", stalled}, {"allowed_us", allowed}, {"elapsed_us", elapsed_us}));
	return 0;
}

static uint64_t decide_bytes(struct policy_process *process)
{
	switch (process->policy->params.when) {
	case POLICY_TARGET:
		return to_target(process);
	case POLICY_HOLD:
		return to_pressure(process);
	default:
		return NEVER;
	}
}

static uint64_t left_of(uint64_t limit, uint64_t used)
{
	uint64_t usable = limit - limit / LIMIT_SPARE;

	if (!limit)
		return NEVER;
	return usable > used ? round_down(usable - used, page_size()) : 0;
}

bool policy_due(const struct policy_process *process)
{
	const struct policy *policy = process->policy;

	return policy->machine.now_ms >= process->due_ms &&
	       (policy->params.when != POLICY_PRESSURE || policy->machine.pressed);
}

uint64_t policy_round(struct policy_process *process)
{
	const struct policy *policy = process->policy;
	uint64_t used = total_of(policy, false);
	uint64_t own = left_of(policy->params.limit, process->seen.used);
	uint64_t all = left_of(policy->params.total_limit, used);
	uint64_t bytes;

	process->due_ms = policy->machine.now_ms + policy->params.interval_ms;
	if (process->seen.resident < SUPERPAGE) {
		emit_decision(process, "wait", "small", NOWHERE, NUMBERS({"resident_bytes", process->seen.resident}));
		return 0;
	}
	bytes = decide_bytes(process);
	if (bytes && !own)
		emit_decision(process, "wait", "limit", NOWHERE,
			      NUMBERS({"used_bytes", process->seen.used}, {"limit_bytes", policy->params.limit}));
	else if (bytes && !all)
		emit_decision(process, "wait", "total-limit", NOWHERE,
			      NUMBERS({"total_used_bytes", used}, {"total_limit_bytes", policy->params.total_limit}));
	process->candidate_count = 0;
	return min_u64(bytes, min_u64(own, all));
}

int policy_candidate(struct policy_process *process, struct region region, uint64_t resident)
{
	uint64_t now = process->policy->machine.now_ms;
	const struct known *known = find_known(process, round_down(region.start, SUPERPAGE));

	if (known && known->until_ms > now) {
		emit_decision(process, "leave", "back-off", region,
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
		uint64_t peace = FORGET * time_alone(process->policy, known->times);

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
	emit_decision(process, "wait", "saves-little", NOWHERE,
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
		emit_decision(process, "stage", "cold", c->region,
			      NUMBERS({"resident_bytes", c->resident}, {"times", c->times},
				      {"used_bytes", process->seen.used},
				      {bytes == NEVER ? NULL : "budget_bytes", bytes - planned}));
		planned += min_u64(c->resident, bytes - planned);
	}
	if (count < process->candidate_count)
		emit_decision(process, "leave", count == most ? "regions-per-round" : "budget", NOWHERE,
			      NUMBERS({"regions", process->candidate_count - count}, {"staged_regions", count},
				      {bytes == NEVER ? NULL : "budget_bytes", bytes}));
	if (!count)
		emit_decision(process, "wait", "nothing", NOWHERE, NUMBERS({"resident_bytes", process->seen.resident}));
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

		emit_decision(process, "leave", "refused", (struct region){superpage, superpage + SUPERPAGE},
			      NUMBERS({"times", known->times}, {"alone_ms", alone}));
		return 0;
	}
	known->staged_ms = process->staged_ms = now;
	process->seen.resident -= min_u64(process->seen.resident, moved);
	process->writeback_ms = min_u64(process->writeback_ms, now + policy->params.stage_ms);
	return 0;
}

bool policy_writeback(struct policy_process *process, uint64_t *age_ms, uint64_t *bytes)
{
	const struct policy *policy = process->policy;
	uint64_t free_bytes = policy->machine.free_bytes;
	bool room = free_bytes > policy->params.min_free;

	if (policy->machine.now_ms < process->writeback_ms)
		return false;
	emit_decision(process, room ? "writeback" : "wait", room ? "untouched" : "min-free", NOWHERE,
		      NUMBERS({"pool_bytes", process->seen.pool}, {"stage_ms", policy->params.stage_ms},
			      {"min_free_bytes", policy->params.min_free},
			      {free_bytes == NEVER ? NULL : "free_bytes", free_bytes}));
	if (!room)
		process->writeback_ms = policy->machine.now_ms + RETRY_MS;
	*age_ms = policy->params.stage_ms;
	*bytes = free_bytes == NEVER || !room ? 0 : free_bytes - policy->params.min_free;
	return room;
}

void policy_written(struct policy_process *process, uint64_t left, uint64_t oldest_ms, bool failed)
{
	const struct policy *policy = process->policy;
	uint64_t stage = policy->params.stage_ms;
	uint64_t wait = stage > oldest_ms ? stage - oldest_ms : 0;

	process->seen.pool = left;
	process->writeback_ms = left ? policy->machine.now_ms + (failed ? RETRY_MS : max_u64(wait, RETRY_LEFT)) : NEVER;
}

uint64_t policy_next(const struct policy *policy)
{
	uint64_t next = NEVER;

	for (const struct policy_process *p = policy->processes; p; p = p->next) {
		if (policy->params.when != POLICY_PRESSURE)
			next = min_u64(next, p->due_ms);
		next = min_u64(next, p->writeback_ms);
	}
	return next;
}
