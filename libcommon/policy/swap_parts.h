/* SPDX-License-Identifier: MIT */
/* What the parts of the policy of swapctl auto share: swap.c says when and how much, swap_pages.c which pages. */
#pragma once

#include "policy/shadow.h"
#include "policy/swap.h"

#define NEVER     UINT64_MAX
#define TIMES_MAX 10 /* the time to be left alone doubles so often */
#define TURNS     64 /* rounds of which it is known what the process had resident */

/* A round in which something left. */
struct policy_turn {
	uint64_t ms;
	uint64_t age;      /* of the process, after it */
	uint64_t resident; /* before it */
};

struct policy_history {
	uint64_t age;                    /* bytes that left, or came back hot, since the process was first seen */
	struct policy_turn turns[TURNS]; /* the last one first */
};

/*
 * Pages that were hot and are tried again: a few in a round, so that the program never meets all of them at once, and
 * twice as many each time as long as they stay out.
 */
struct policy_probe {
	uint64_t bytes;     /* of a round at most */
	uint64_t left;      /* … of this one */
	uint64_t out, back; /* that left in the last round, and came back since */
};

/* What a superpage has resident, in pieces that may leave: runs[first] to runs[first + count - 1]. */
struct policy_candidate {
	uint64_t start;
	size_t first, count;
	uint64_t bytes;     /* of the runs */
	uint64_t hot_bytes; /* stay */
	uint64_t left_ms;   /* until some of these are tried again */
	uint64_t times;     /* that pages of the runs came back soon, in all */
};

/* How long threads had waited for memory at the last look, and how much of POLICY_HOLD's caution is needed. */
struct policy_waiting {
	uint64_t ms, us;
	unsigned int doubled; /* what a round takes, so often */
};

struct policy_process {
	struct policy *policy;
	struct policy_process *next;
	int pid;
	uint64_t starttime;
	struct policy_observation seen;
	uint64_t due_ms;
	uint64_t writeback_ms;
	struct policy_waiting waiting;
	uint64_t forks_ms, forks; /* when forks were counted last, and how many there were; 0: not in this session */
	uint64_t staged_ms;       /* when something left last */
	unsigned int unpaid;      /* sessions that did not pay */
	struct shadows shadows;
	struct region_vec runs;
	struct policy_candidate *candidates;
	size_t candidate_count, candidate_size;
	struct policy_history history;
	struct policy_probe probe;
};

struct policy {
	struct policy_params params;
	struct policy_machine machine;
	struct policy_process *processes;
	policy_fn explain;
	void *context;
};

/* Says what was decided and why, where a caller wants to know. */
void policy_emit(const struct policy_process *process, const char *op, const char *why, struct region region,
		 const struct policy_number numbers[POLICY_NUMBERS]);

#define NUMBERS(...) ((const struct policy_number[POLICY_NUMBERS]){__VA_ARGS__})
#define NOWHERE      ((struct region){0, 0})

/* For how long what came back soon is left alone, when it has been so often before. */
uint64_t policy_time_alone(const struct policy *policy, unsigned int times);
