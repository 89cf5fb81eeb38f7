/* SPDX-License-Identifier: MIT */
/* What the clocks say. No code of its own, so that what runs inside programs may use it. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Nanoseconds of a clock that this machine has (clock_gettime(2)). */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Of CLOCK_MONOTONIC, which all times here are of. */
static inline uint64_t clock_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}
