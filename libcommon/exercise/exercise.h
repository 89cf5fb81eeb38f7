/* SPDX-License-Identifier: MIT */
/* Exercises: each uses one thing userfaultfd offers for real, in a process of its own, and says what was seen. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "uffd/route.h"

#define EXERCISE_DEADLINE_MS 5000

enum exercise_result {
	EXERCISE_PASS,
	EXERCISE_FAIL,
	EXERCISE_NOT_APPLICABLE, /* it cannot be tried here: not offered, not permitted, nothing to try it on */
};

/* "pass", "fail", "not-applicable" */
const char *exercise_result_name(enum exercise_result result);

struct exercise_outcome {
	enum exercise_result result;
	char seen[240]; /* one sentence */
	uint64_t time_us;
};

struct kit; /* exercise_kit.h */

struct exercise {
	const char *name;          /* "move_dontwake" */
	uint64_t features;         /* what must be enabled for it */
	void (*run)(struct kit *); /* ends by one of the kit's verdicts and does not return */
};

/* All of them, ended by a row without a name. */
extern const struct exercise exercises[];

/*
 * Runs one exercise, with descriptors of a route (UFFD_ROUTES: there is none), in a child process, which is killed when
 * it is not done after deadline_ms: a failure that says "deadline", as a crash is one. Children that the exercise makes
 * end with it. Returns 0, or -errno when it could not be started (-EAGAIN, -ENOMEM).
 */
int exercise_run(const struct exercise *exercise, enum uffd_route route, unsigned int deadline_ms,
		 struct exercise_outcome *outcome);
