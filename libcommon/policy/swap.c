/* SPDX-License-Identifier: MIT */
/* Decisions of swapctl auto: when to take something out of which process, how much, and whether it pays. */
#include <stdlib.h>
#include <string.h>

#include "policy/swap_parts.h"

#define PROBE       100        /* a round of POLICY_HOLD takes at most this part, as senpai does */
#define DOUBLED_MAX 7          /* 128 times that: everything */
#define RETRY_MS    60000      /* a write-back that could not be */
#define RETRY_LEFT  1000       /* what was being asked for when it was to be written */
#define LIMIT_SPARE 64         /* this part of a limit is kept for what records have beside their pages */
#define LITTLE      2          /* this part of what a session must save is not worth keeping it */
#define FORK_SAVES  (16 * MiB) /* must be out for each fork a second: in a session a fork takes about 20 ms longer */

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
	shadows_free(&process->shadows);
	region_vec_free(&process->runs);
	free(process->candidates);
	free(process);
}

void policy_observe(struct policy_process *process, const struct policy_observation *observation)
{
	process->seen = *observation;
	if (observation->pool && process->writeback_ms == NEVER)
		process->writeback_ms = process->policy->machine.now_ms + process->policy->params.stage_ms;
}

void policy_emit(const struct policy_process *process, const char *op, const char *why, struct region region,
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

uint64_t policy_time_alone(const struct policy *policy, unsigned int times)
{
	return policy->params.backoff_ms << times;
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
	policy_emit(process, "wait", "refaults-lost", NOWHERE,
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
	policy_emit(process, "end", "forks", NOWHERE,
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
	policy_emit(process, "end", "little-out", NOWHERE,
		    NUMBERS({"out_bytes", process->seen.out}, {"min_saved_bytes", policy->params.min_saved}));
	return true;
}

bool policy_pays(struct policy_process *process)
{
	const struct policy *policy = process->policy;

	if (!policy->params.min_saved || (!forks_much(process) && !saves_little(process)))
		return true;
	process->due_ms = policy->machine.now_ms + policy_time_alone(policy, process->unpaid);
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
		return round_up(resident - policy->params.target, page_size());
	policy_emit(process, "wait", "target", NOWHERE,
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
	uint64_t elapsed_ms = policy->machine.now_ms - process->waiting.ms;
	uint64_t stalled = now_us - min_u64(now_us, process->waiting.us);
	uint64_t allowed = elapsed_ms * policy->params.hold_ppm / 1000;
	bool first = !process->waiting.ms;

	process->waiting.ms = policy->machine.now_ms;
	process->waiting.us = now_us;
	if (first) {
		policy_emit(process, "wait", "first-look", NOWHERE, NUMBERS({"hold_ppm", policy->params.hold_ppm}));
		return 0;
	}
	if (stalled < allowed)
		return round_down((uint64_t)((double)(process->seen.resident << process->waiting.doubled) / PROBE *
					     (double)(allowed - stalled) / (double)allowed),
				  page_size());
	process->waiting.doubled = 0;
	policy_emit(process, "wait", "pressure", NOWHERE,
		    NUMBERS({"stalled_us", stalled}, {"allowed_us", allowed}, {"elapsed_us", elapsed_ms * 1000}));
	return 0;
}

/* A target has to be reached: what a round may take for it doubles for as long as nobody waits too long. */
static uint64_t decide_bytes(struct policy_process *process)
{
	const unsigned int when = process->policy->params.when;
	uint64_t little = when & POLICY_HOLD ? to_pressure(process) : NEVER;
	uint64_t excess = when & POLICY_TARGET ? to_target(process) : NEVER;

	if ((when & POLICY_TARGET) && little && little < excess && process->waiting.doubled < DOUBLED_MAX)
		process->waiting.doubled++;
	return min_u64(little, excess);
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
	       (!(policy->params.when & POLICY_PRESSURE) || policy->machine.pressed);
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
		policy_emit(process, "wait", "small", NOWHERE, NUMBERS({"resident_bytes", process->seen.resident}));
		return 0;
	}
	bytes = decide_bytes(process);
	if (bytes && !own)
		policy_emit(process, "wait", "limit", NOWHERE,
			    NUMBERS({"used_bytes", process->seen.used}, {"limit_bytes", policy->params.limit}));
	else if (bytes && !all)
		policy_emit(process, "wait", "total-limit", NOWHERE,
			    NUMBERS({"total_used_bytes", used}, {"total_limit_bytes", policy->params.total_limit}));
	process->candidate_count = process->runs.count = 0;
	return min_u64(bytes, min_u64(own, all));
}

bool policy_writeback(struct policy_process *process, uint64_t *age_ms, uint64_t *bytes)
{
	const struct policy *policy = process->policy;
	uint64_t free_bytes = policy->machine.free_bytes;
	bool room = free_bytes > policy->params.min_free;

	if (policy->machine.now_ms < process->writeback_ms)
		return false;
	policy_emit(process, room ? "writeback" : "wait", room ? "untouched" : "min-free", NOWHERE,
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
		if (!(policy->params.when & POLICY_PRESSURE))
			next = min_u64(next, p->due_ms);
		next = min_u64(next, p->writeback_ms);
	}
	return next;
}
