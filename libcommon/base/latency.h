/* SPDX-License-Identifier: MIT */
/* A histogram of times: eight steps to the doubling, nanoseconds to seconds, fixed size. */
#pragma once

#include <stdint.h>

#define LATENCY_BUCKETS 256

struct latency {
	uint64_t *buckets; /* LATENCY_BUCKETS, borrowed: where several processes share them */
	uint64_t *max_ns;
};

/* How many samples took less than 2^power nanoseconds. */
uint64_t latency_below(const struct latency *latency, unsigned int power);

/* One more sample; by one thread at a time. */
void latency_add(struct latency *latency, uint64_t ns);

/* The time that `percent` of the samples do not exceed (within an eighth), in nanoseconds; 0 without samples. */
uint64_t latency_percentile(const struct latency *latency, double percent);
