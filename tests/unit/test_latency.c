/* SPDX-License-Identifier: MIT */
/* The histogram of fault latencies: percentiles within their bound, over the whole range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/latency.h"

#define SAMPLES 10000

static uint64_t buckets[256];
static uint64_t max_ns;

static struct latency fresh(void)
{
	memset(buckets, 0, sizeof(buckets));
	max_ns = 0;
	return (struct latency){buckets, &max_ns};
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_nothing(void **state)
{
	struct latency latency = fresh();

	(void)state;
	assert_int_equal(latency_percentile(&latency, 50), 0);
}

/* One sample of every size from a nanosecond to seconds: not below it, and no more than an eighth above. */
static void test_one_sample(void **state)
{
	(void)state;
	for (uint64_t ns = 1; ns < UINT64_C(5000000000); ns += ns / 3 + 1) {
		struct latency latency = fresh();

		latency_add(&latency, ns);
		latency_add(&latency, ns * 2);
		assert_true(latency_percentile(&latency, 50) >= ns);
		assert_true(latency_percentile(&latency, 50) <= ns + ns / 8);
		assert_int_equal(latency_percentile(&latency, 100), ns * 2);
	}
}

static void test_percentiles(void **state)
{
	static uint64_t samples[SAMPLES];
	struct latency latency = fresh();
	uint64_t seed = 42;

	(void)state;
	for (unsigned int i = 0; i < SAMPLES; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		samples[i] = seed >> (40 + i % 12);
		latency_add(&latency, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	for (unsigned int percent = 1; percent <= 99; percent++) {
		uint64_t exact = samples[SAMPLES / 100 * percent - 1];
		uint64_t told = latency_percentile(&latency, percent);

		assert_true(told >= exact && told <= exact + exact / 8 + 1);
	}
	assert_true(latency_percentile(&latency, 50) <= latency_percentile(&latency, 99));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_one_sample),
		cmocka_unit_test(test_percentiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
