/* SPDX-License-Identifier: MIT */
/* Which threads to stop: by what each is doing. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "inject/inject.h"

/* How well a thread can be stopped, the best first. */
enum suits {
	SUITS_WAITS,   /* in a call that is made again as if nothing had been, or stopped */
	SUITS_RUNS,    /* nobody knows where */
	SUITS_IN_PART, /* in a call that may tell its program of a part when it is interrupted */
	SUITS_LATE,    /* sleeps uninterruptibly (a page fault that we serve among them), or is asked to stop already */
	SUITS_COUNT,
};

struct choice {
	pid_t tid;
	enum suits suits;
};

#define CHOICES 32

/*
 * The threads of a target that can serve, the best first and among equals the one that served last time; CHOICES of
 * many. Waits for a moment when none is better than SUITS_IN_PART, less and less when that does not help. Returns how
 * many there are, or -ESRCH.
 */
ssize_t choose_threads(struct inject *inject, struct choice choices[CHOICES]);
