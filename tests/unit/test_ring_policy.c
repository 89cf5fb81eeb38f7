/* SPDX-License-Identifier: MIT */
/* When a watcher reclaims, and how much: properties over many looks, and each reason by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/size.h"
#include "policy/reclaim.h"

#define SECOND UINT64_C(1000000000)
#define LOOKS  200000

static const struct ring_params usual = {.grace_ns = 30 * SECOND, .margin = 32 * MiB};
static const struct ring_observation calm = {.bytes = 100 * MiB, .left = UINT64_MAX, .limit = UINT64_MAX};

static void decides(const struct ring_observation *seen, enum ring_why why, uint64_t bytes)
{
	struct ring_decision decision = ring_decide(&usual, seen);

	assert_string_equal(ring_why_name(decision.why), ring_why_name(why));
	assert_int_equal(decision.bytes, bytes);
}

static void test_leave(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	decides(&seen, RING_LEAVE, 0);
	seen.level = RING_CRITICAL; /* without a new notice */
	decides(&seen, RING_LEAVE, 0);
	seen = (struct ring_observation){
		.stopped = true, .stopped_ns = 60 * SECOND, .pressed = true, .level = RING_CRITICAL};
	decides(&seen, RING_LEAVE, 0); /* an empty ring, a cgroup at its limit of 0 */
}

static void test_trim(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	seen.unneeded = 3 * MiB;
	decides(&seen, RING_TRIM, 3 * MiB);
	seen.unneeded = GiB;
	decides(&seen, RING_TRIM, 100 * MiB);
}

static void test_abandoned(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	seen.abandoned = 100 * MiB / 8;
	decides(&seen, RING_ABANDONED, 100 * MiB / 8);
	seen.unneeded = 25 * MiB;
	decides(&seen, RING_TRIM, 25 * MiB);
}

static void test_pressure(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	seen.pressed = true;
	decides(&seen, RING_LEAVE, 0);
	seen.level = RING_WARNING;
	decides(&seen, RING_PRESSURE, 50 * MiB);
	seen.level = RING_CRITICAL;
	decides(&seen, RING_PRESSURE, 100 * MiB);
	seen.bytes = 3;
	seen.level = RING_WARNING;
	decides(&seen, RING_PRESSURE, 1);
}

static void test_batch_left(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	seen.batch_left = true;
	decides(&seen, RING_LEFT, 1);
	seen.bytes = 0;
	decides(&seen, RING_LEFT, 1);
	seen = calm;
	seen.batch_left = true;
	seen.unneeded = 3 * MiB;
	decides(&seen, RING_TRIM, 3 * MiB);
}

static void test_stopped(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	seen.stopped = true;
	seen.stopped_ns = 30 * SECOND - 1;
	decides(&seen, RING_LEAVE, 0);
	seen.stopped_ns++;
	decides(&seen, RING_STOPPED, 100 * MiB);
	seen.stopped = false;
	decides(&seen, RING_LEAVE, 0);
}

static void test_limit(void **state)
{
	struct ring_observation seen = calm;

	(void)state;
	seen.limit = GiB;
	seen.left = 32 * MiB;
	decides(&seen, RING_LEAVE, 0);
	seen.left = 30 * MiB;
	decides(&seen, RING_LIMIT, 34 * MiB);
	seen.left = 0;
	decides(&seen, RING_LIMIT, 64 * MiB);
	seen.limit = 80 * MiB; /* a margin of 10 MiB */
	decides(&seen, RING_LIMIT, 20 * MiB);
	seen.bytes = MiB;
	decides(&seen, RING_LIMIT, MiB);
}

/* A fixed sequence: a failure can be repeated. */
static uint64_t next(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> (*seed >> 58);
}

static struct ring_observation any_observation(uint64_t *seed)
{
	return (struct ring_observation){
		.bytes = next(seed) % TiB,
		.unneeded = next(seed),
		.abandoned = next(seed) % TiB,
		.left = next(seed),
		.limit = next(seed),
		.stopped = next(seed) % 2,
		.stopped_ns = next(seed) % (60 * SECOND),
		.level = (enum ring_level)(next(seed) % 3),
		.pressed = next(seed) % 2,
	};
}

static void test_never_more_than_there_is(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned int i = 0; i < LOOKS; i++) {
		struct ring_observation seen = any_observation(&seed);
		struct ring_decision decision = ring_decide(&usual, &seen);

		assert_true(decision.bytes <= seen.bytes);
		assert_true((decision.why == RING_LEAVE) == (decision.bytes == 0));
	}
}

static uint64_t bytes_of(const struct ring_observation *seen)
{
	return ring_decide(&usual, seen).bytes;
}

/* Whatever gets worse never makes it take less. */
static void test_monotone(void **state)
{
	uint64_t seed = 2;

	(void)state;
	for (unsigned int i = 0; i < LOOKS; i++) {
		const struct ring_observation seen = any_observation(&seed);
		const uint64_t bytes = bytes_of(&seen);
		struct ring_observation worse = seen;

		worse.level = seen.level < RING_CRITICAL ? seen.level + 1 : seen.level;
		assert_true(bytes_of(&worse) >= bytes);
		worse.pressed = true;
		assert_true(bytes_of(&worse) >= bytes);
		worse.left = seen.left / 2;
		assert_true(bytes_of(&worse) >= bytes);
		worse.stopped_ns = seen.stopped_ns * 2;
		assert_true(bytes_of(&worse) >= bytes);
		worse.stopped = true;
		assert_true(bytes_of(&worse) >= bytes);
		worse.unneeded = max_u64(seen.unneeded, seen.bytes / 2);
		assert_true(bytes_of(&worse) >= bytes);
		worse.bytes = seen.bytes * 2;
		assert_true(bytes_of(&worse) >= bytes);
	}
}

static void test_level_holds(void **state)
{
	struct ring_pressure pressure = {0};

	(void)state;
	assert_int_equal(ring_pressure_level(&pressure, 100), RING_NORMAL);
	ring_pressure_note(&pressure, RING_WARNING, 100, 50);
	ring_pressure_note(&pressure, RING_CRITICAL, 110, 20);
	assert_int_equal(ring_pressure_level(&pressure, 129), RING_CRITICAL);
	assert_int_equal(ring_pressure_level(&pressure, 130), RING_WARNING);
	ring_pressure_note(&pressure, RING_WARNING, 120, 10);
	assert_int_equal(ring_pressure_level(&pressure, 149), RING_WARNING);
	assert_int_equal(ring_pressure_level(&pressure, 150), RING_NORMAL);
}

static void test_backoff(void **state)
{
	(void)state;
	assert_int_equal(ring_backoff_ns(1), SECOND);
	for (unsigned int failures = 1; failures < 200; failures++)
		assert_true(ring_backoff_ns(failures + 1) >= ring_backoff_ns(failures));
	assert_int_equal(ring_backoff_ns(UINT32_MAX), 64 * SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leave),      cmocka_unit_test(test_trim),
		cmocka_unit_test(test_abandoned),  cmocka_unit_test(test_pressure),
		cmocka_unit_test(test_batch_left), cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_limit),      cmocka_unit_test(test_never_more_than_there_is),
		cmocka_unit_test(test_monotone),   cmocka_unit_test(test_level_holds),
		cmocka_unit_test(test_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
