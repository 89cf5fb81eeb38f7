/* A histogram of times: eight steps to the doubling, nanoseconds to seconds, fixed size. */
#pragma once

#include <stdint.h>

struct latency {
	uint64_t *buckets; /* 256, borrowed (they live in the index) */
	uint64_t *max_ns;
};

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t latency_now_ns(void);

void latency_add(struct latency *latency, uint64_t ns);

/* The time that `percent` of the samples do not exceed (within an eighth), in nanoseconds; 0 without samples. */
uint64_t latency_percentile(const struct latency *latency, double percent);
