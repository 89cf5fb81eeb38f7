/* SPDX-License-Identifier: MIT */
/*
 * When a ring is reclaimed from outside, and how much of it. Decisions only: nothing here looks at a process or changes
 * a ring.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring/layout.h"

enum ring_why {
	RING_LEAVE,     /* nothing is to be done */
	RING_TRIM,      /* samples show it to be unneeded */
	RING_ABANDONED, /* its program has not used it for long */
	RING_PRESSURE,  /* the kernel has told that tasks wait for memory */
	RING_LIMIT,     /* a cgroup of the process is near a limit of its memory */
	RING_STOPPED,   /* the process cannot run, and so cannot need it */
	RING_LEFT,      /* a reclaimer that was killed has left a batch, which the program may wait for */
};

/* "trim", …; "leave". */
const char *ring_why_name(enum ring_why why);

struct ring_params {
	uint64_t grace_ns; /* a process is stopped for so long before its ring is drained */
	uint64_t margin;   /* bytes to keep free below the limit of a cgroup, an eighth of that limit at most */
};

/* Bytes to keep free below this limit; 0 without one. */
uint64_t ring_margin(const struct ring_params *params, uint64_t limit);

/*
 * Bytes to reclaim when so many are left to a limit: 0 while that is the margin or more, or else so much that twice the
 * margin is left: to fill it again takes as long as before.
 */
uint64_t ring_wanted_by_limit(const struct ring_params *params, uint64_t limit, uint64_t left);

/* What is known of a ring and its process. Bytes and nanoseconds. */
struct ring_observation {
	uint64_t bytes;     /* in the ring */
	uint64_t unneeded;  /* as ring_sample says; 0 without a new sample */
	uint64_t abandoned; /* as ring_abandoned says */
	uint64_t left;      /* until the cgroup's limit is reached, UINT64_MAX without one */
	uint64_t limit;
	bool stopped;
	bool batch_left;     /* by a reclaimer that was killed */
	uint64_t stopped_ns; /* for so long */
	enum ring_level level;
	bool pressed; /* the kernel has told of pressure since the last look */
};

struct ring_decision {
	enum ring_why why;
	uint64_t bytes; /* to reclaim; never more than are counted in the ring, but for a batch that was left */
};

/* Of all reasons there are, the one that asks for most. A batch that was left is redone with whatever is reclaimed. */
struct ring_decision ring_decide(const struct ring_params *params, const struct ring_observation *seen);

/* The level that the kernel's notices of pressure amount to: each one holds for so long. All zeros: none has come. */
struct ring_pressure {
	uint64_t until_ns[RING_CRITICAL + 1];
};

/* A notice has come; what they amount to now. */
void ring_pressure_note(struct ring_pressure *pressure, enum ring_level level, uint64_t now_ns, uint64_t hold_ns);
enum ring_level ring_pressure_level(const struct ring_pressure *pressure, uint64_t now_ns);

/* After how many nanoseconds what has failed so many times in a row (1 or more) is tried again. */
uint64_t ring_backoff_ns(unsigned int failures);
