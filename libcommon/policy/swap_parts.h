/* SPDX-License-Identifier: MIT */
/* What the parts of the policy of swapctl auto share: swap.c says when and how much, swap_pages.c which pages. */
#pragma once

#include "policy/shadow.h"
#include "policy/swap.h"

#define NEVER       UINT64_MAX
#define TIMES_MAX   10         /* the time to be left alone doubles so often */
#define SUPERPAGE   (2 * MiB)
#define NUMBERS(...) ((const struct policy_number[POLICY_NUMBERS]){__VA_ARGS__})
#define NOWHERE      ((struct region){0, 0})

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

/* Says what was decided and why, where a caller wants to know. */
void policy_emit(const struct policy_process *process, const char *op, const char *why, struct region region,
		 const struct policy_number numbers[POLICY_NUMBERS]);

/* For how long what came back soon is left alone, when it has been so often before. */
uint64_t policy_time_alone(const struct policy *policy, unsigned int times);
