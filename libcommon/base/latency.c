/* SPDX-License-Identifier: MIT */
/* Buckets: below 8 ns one a nanosecond, above that eight steps a doubling. */
#include "base/latency.h"

#include "base/size.h"

#define STEPS 8 /* a doubling */

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int power;
	unsigned int bucket;

	if (ns < STEPS)
		return (unsigned int)ns;
	power = 63 - (unsigned int)__builtin_clzll(ns);
	bucket = (power - 2) * STEPS + (unsigned int)(ns >> (power - 3) & (STEPS - 1));
	return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The longest time that a bucket counts; the last bucket has all that are longer, too. */
static uint64_t bucket_top(unsigned int bucket)
{
	unsigned int power = bucket / STEPS + 2;

	if (bucket < STEPS)
		return bucket;
	return (UINT64_C(1) << power) + ((uint64_t)(bucket % STEPS + 1) << (power - 3)) - 1;
}

void latency_add(struct latency *latency, uint64_t ns)
{
	latency->buckets[bucket_of(ns)]++;
	if (ns > *latency->max_ns)
		*latency->max_ns = ns;
}

uint64_t latency_below(const struct latency *latency, unsigned int power)
{
	unsigned int end = power < 3 ? 1U << power : (power - 2) * STEPS;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LATENCY_BUCKETS && i < end; i++)
		sum += latency->buckets[i];
	return sum;
}

uint64_t latency_percentile(const struct latency *latency, double percent)
{
	uint64_t total = 0;
	uint64_t seen = 0;

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		total += latency->buckets[i];
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		seen += latency->buckets[i];
		if (total && (double)seen >= (double)total * percent / 100)
			return min_u64(bucket_top(i), *latency->max_ns);
	}
	return 0;
}
