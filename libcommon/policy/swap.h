/* SPDX-License-Identifier: MIT */
/*
 * What to take out of which process, and when. Decides from what it is told; makes no system call and knows no clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/region.h"

/* Conditions that all have to hold. */
enum policy_when {
	POLICY_PRESSURE = 1, /* the kernel's pressure trigger has fired */
	POLICY_TARGET = 2,   /* all processes together have more resident than `target` */
	POLICY_HOLD = 4,     /* threads wait for memory for less than `hold_ppm` of the time */
};

/* Times in milliseconds, sizes in bytes. */
struct policy_params {
	unsigned int when; /* enum policy_when; 0: always */
	uint64_t target;
	uint64_t hold_ppm;
	uint64_t stage_ms;   /* in memory for so long before it is written back */
	uint64_t backoff_ms; /* a page that comes back sooner is left alone so long, then twice that, … */
	uint64_t interval_ms;
	unsigned int regions_per_round; /* superpages of which something leaves */
	uint64_t min_free;
	uint64_t limit, total_limit; /* of records, of one process and of all; 0: none */
	uint64_t min_saved;          /* a session that saves less does not pay for its own memory; 0: any does */
};

/* The machine, as far as it matters. */
struct policy_machine {
	uint64_t now_ms;     /* of a clock that does not go back, above 0 */
	bool pressed;        /* the trigger has fired since the last look */
	uint64_t stalled_us; /* "some" of the kernel's pressure file, since it began to count */
	uint64_t free_bytes; /* on the store's file system; UINT64_MAX when it does not matter */
};

/* A process. */
struct policy_observation {
	uint64_t resident;   /* anonymous */
	uint64_t used;       /* records of it, in memory and in the store */
	uint64_t pool;       /* of that, in memory */
	uint64_t stalled_us; /* its threads have waited for pages to come back, since its session began */
	uint64_t out;        /* bytes */
	uint64_t forks;      /* since its session began */
	bool served;         /* it has a session */
};

struct policy_number {
	const char *key;
	uint64_t value;
};

#define POLICY_NUMBERS 6

/* Lasts for the time of the call. */
struct policy_decision {
	int pid;
	uint64_t starttime;
	const char *op;                               /* "stage", "leave", "writeback", "wait", "end" */
	const char *why;                              /* "cold", "refault", "limit", … */
	struct region region;                         /* empty: it is about the process */
	struct policy_number numbers[POLICY_NUMBERS]; /* what it rested on; ended by a key NULL, or full */
};

typedef void (*policy_fn)(void *context, const struct policy_decision *decision);

struct policy;
struct policy_process;

/* `explain` (NULL: nobody wants to know) hears of each decision. Returns NULL when out of memory. */
struct policy *policy_new(const struct policy_params *params, policy_fn explain, void *context);
void policy_free(struct policy *policy); /* its processes too */

/* The latest state of the machine. */
void policy_observe_machine(struct policy *policy, const struct policy_machine *machine);

/* When something is to be done next; UINT64_MAX: when the trigger fires, or never. */
uint64_t policy_next(const struct policy *policy);

/* Returns NULL when out of memory. */
struct policy_process *policy_process_new(struct policy *policy, int pid, uint64_t starttime);
void policy_process_free(struct policy_process *process);
void policy_observe(struct policy_process *process, const struct policy_observation *observation);

/* Nothing is done for it before so many milliseconds have passed; UINT64_MAX: ever. */
void policy_postpone(struct policy_process *process, uint64_t ms);

/*
 * Whether the session of a process that is due and has been observed pays. If not, the caller ends it, and the process
 * is left alone for a while, longer each time.
 */
bool policy_pays(struct policy_process *process);

/*
 * Pages were asked for at `at_ms`; those that had not left here do not matter. One is hot, and left alone, when it came
 * back sooner than backoff_ms and, where memory is held to a target, before as much left and came back as was resident
 * when it left: the refault distance of the kernel's mm/workingset.c. Returns how many pages had left here.
 */
uint64_t policy_refaulted(struct policy_process *process, struct region region, uint64_t at_ms);

/* The pages of a region were used since they were last looked at. Returns 0 or -ENOMEM. */
int policy_accessed(struct policy_process *process, struct region region);

/* Some were asked for of which nobody knows which: all of the process is left alone for a while. */
void policy_refaults_lost(struct policy_process *process, uint64_t pages);

/*
 * A round, for a process that is due and has been observed. policy_round returns the most bytes to take, in whole
 * pages: 0 is none, UINT64_MAX no limit. Then policy_candidate is called for each region that is resident, page
 * aligned, in order. policy_choose adds what to stage to `regions`, sorted, none longer than a superpage, no more than
 * those bytes together, and policy_staged is told what became of each: how much of it moved. candidate, choose and
 * staged return 0 or -ENOMEM.
 */
bool policy_due(const struct policy_process *process);
uint64_t policy_round(struct policy_process *process);
int policy_candidate(struct policy_process *process, struct region region);
int policy_choose(struct policy_process *process, uint64_t bytes, struct region_vec *regions);
int policy_staged(struct policy_process *process, struct region region, uint64_t moved);

/*
 * Whether records that are old enough are to be written back: how old at least, and how many bytes at most (0: no
 * limit). Then policy_written is told what is left in memory and how old the oldest of it is, or that it failed.
 */
bool policy_writeback(struct policy_process *process, uint64_t *age_ms, uint64_t *bytes);
void policy_written(struct policy_process *process, uint64_t left, uint64_t oldest_ms, bool failed);
