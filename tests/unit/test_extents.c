/* SPDX-License-Identifier: MIT */
/* The store's region allocator, held against a naive map of bytes. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/extents.h"

#define SPAN  2048
#define STEPS 100000
#define MANY  UINT64_C(200000)

struct naive {
	uint8_t taken[SPAN];
	uint64_t available;
};

static uint64_t random_below(uint64_t *state, uint64_t bound)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % bound;
}

static int naive_take(const struct naive *naive, uint64_t length, uint64_t *offset)
{
	uint64_t best = UINT64_MAX;

	for (uint64_t i = 0, run; i < SPAN; i += run ? run : 1) {
		for (run = 0; i + run < SPAN && !naive->taken[i + run]; run++)
			;
		if (run >= length && run < best) {
			best = run;
			*offset = i;
		}
	}
	return best == UINT64_MAX ? -ENOSPC : 0;
}

static uint64_t naive_count(const struct naive *naive, uint64_t offset, uint64_t length)
{
	uint64_t taken = 0;

	for (uint64_t i = offset; i < offset + length; i++)
		taken += naive->taken[i];
	return taken;
}

static void naive_mark(struct naive *naive, uint64_t offset, uint64_t length, uint8_t taken)
{
	memset(naive->taken + offset, taken, length);
	naive->available += taken ? -length : length;
}

static void step_take(struct extents *extents, struct naive *naive, uint64_t length)
{
	uint64_t expected = 0, offset = 0;
	int err = naive_take(naive, length, &expected);

	assert_int_equal(extents_take(extents, length, &offset), err);
	if (err)
		return;
	assert_int_equal(offset, expected);
	naive_mark(naive, offset, length, 1);
}

static void step_take_at(struct extents *extents, struct naive *naive, uint64_t offset, uint64_t length)
{
	int err = naive_count(naive, offset, length) ? -EBUSY : 0;

	assert_int_equal(extents_take_at(extents, offset, length), err);
	if (!err)
		naive_mark(naive, offset, length, 1);
}

static void step_give(struct extents *extents, struct naive *naive, uint64_t offset, uint64_t length)
{
	uint64_t start = offset, end = offset + length;
	uint64_t free_offset = 0, free_length = 0;
	int err = naive_count(naive, offset, length) == length ? 0 : -EINVAL;

	assert_int_equal(extents_give(extents, offset, length, &free_offset, &free_length), err);
	if (err)
		return;
	naive_mark(naive, offset, length, 0);
	while (start && !naive->taken[start - 1])
		start--;
	while (end < SPAN && !naive->taken[end])
		end++;
	assert_int_equal(free_offset, start);
	assert_int_equal(free_length, end - start);
}

/* A run of taken bytes from somewhere on, so that most gives are good ones. */
static void step_give_taken(struct extents *extents, struct naive *naive, uint64_t offset, uint64_t most)
{
	uint64_t length = 0;

	while (offset < SPAN && !naive->taken[offset])
		offset++;
	while (length < most && offset + length < SPAN && naive->taken[offset + length])
		length++;
	if (length)
		step_give(extents, naive, offset, length);
}

/* Regions are added while it runs: what is not one of them counts as taken here, and cannot be given. */
#define PIECE (SPAN / 16)

static void step_add(struct extents *extents, struct naive *naive, uint8_t *known, uint64_t piece)
{
	uint64_t offset = piece * PIECE;
	bool again = known[piece];

	if (again && naive_count(naive, offset, PIECE) == 0) {
		assert_int_equal(extents_remove(extents, offset, PIECE), 0);
		known[piece] = 0;
		naive_mark(naive, offset, PIECE, 1);
		return;
	}
	assert_int_equal(extents_add(extents, offset, PIECE), again ? -EEXIST : 0);
	if (again)
		return;
	known[piece] = 1;
	naive_mark(naive, offset, PIECE, 0);
}

static bool all_known(const uint8_t *known, uint64_t offset, uint64_t length)
{
	for (uint64_t piece = offset / PIECE; piece <= (offset + length - 1) / PIECE; piece++)
		if (!known[piece])
			return false;
	return true;
}

static void step_give_known(struct extents *extents, struct naive *naive, const uint8_t *known, uint64_t offset,
			    uint64_t length)
{
	if (all_known(known, offset, length))
		step_give(extents, naive, offset, length);
	else
		assert_int_equal(extents_give(extents, offset, length, NULL, NULL), -EINVAL);
}

static void step_take_known(struct extents *extents, struct naive *naive, const uint8_t *known, uint64_t offset,
			    uint64_t length)
{
	if (all_known(known, offset, length))
		step_take_at(extents, naive, offset, length);
	else
		assert_int_equal(extents_take_at(extents, offset, length), -EINVAL);
}

static void run_growing_seed(uint64_t seed)
{
	struct naive naive = {.available = 0};
	uint8_t known[SPAN / PIECE] = {0};
	struct extents *extents;
	uint64_t state = seed;

	print_message("seed 0x%" PRIx64 "\n", seed);
	memset(naive.taken, 1, SPAN);
	assert_int_equal(extents_new(&extents, 0), 0);
	for (int i = 0; i < STEPS / 4; i++) {
		uint64_t dice = random_below(&state, 1000);
		uint64_t length = 1 + random_below(&state, random_below(&state, 8) ? 16 : 2 * PIECE);
		uint64_t offset = random_below(&state, SPAN - length + 1);

		if (dice < 4)
			step_add(extents, &naive, known, random_below(&state, SPAN / PIECE));
		else if (dice < 150)
			step_take_known(extents, &naive, known, offset, length);
		else if (dice < 550)
			step_take(extents, &naive, length);
		else
			step_give_known(extents, &naive, known, offset, length);
		assert_int_equal(extents_available(extents), naive.available);
	}
	extents_free(extents);
}

static void run_seed(uint64_t seed)
{
	struct naive naive = {.available = SPAN};
	struct extents *extents;
	uint64_t state = seed;

	print_message("seed 0x%" PRIx64 "\n", seed);
	assert_int_equal(extents_new(&extents, SPAN), 0);
	for (int i = 0; i < STEPS; i++) {
		uint64_t eager = i / 5000 % 2 ? 70 : 45; /* filling up and emptying in turns */
		uint64_t dice = random_below(&state, 100);
		uint64_t length = 1 + random_below(&state, random_below(&state, 8) ? 16 : 160);
		uint64_t offset = random_below(&state, SPAN - length + 1);

		if (dice < 4)
			step_give(extents, &naive, offset, length);
		else if (dice < 20)
			step_take_at(extents, &naive, offset, length);
		else if (dice < eager)
			step_take(extents, &naive, length);
		else
			step_give_taken(extents, &naive, offset, length);
		assert_int_equal(extents_available(extents), naive.available);
	}
	extents_free(extents);
}

static void test_like_naive(void **state)
{
	uint64_t seed = 0;

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	run_seed(1);
	run_seed(2);
	run_seed(seed);
}

static void test_growing_like_naive(void **state)
{
	uint64_t seed = 0;

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	run_growing_seed(1);
	run_growing_seed(seed);
}

static void test_bad_additions(void **state)
{
	struct extents *extents;
	uint64_t offset;

	(void)state;
	assert_int_equal(extents_new(&extents, 0), 0);
	assert_int_equal(extents_take(extents, 1, &offset), -ENOSPC);
	assert_int_equal(extents_add(extents, 10, 0), -EINVAL);
	assert_int_equal(extents_add(extents, UINT64_MAX - 1, 3), -EINVAL);
	assert_int_equal(extents_add(extents, 100, 50), 0);
	assert_int_equal(extents_take(extents, 50, &offset), 0);
	assert_int_equal(extents_add(extents, 99, 2), -EEXIST);
	assert_int_equal(extents_add(extents, 120, 10), -EEXIST);
	assert_int_equal(extents_add(extents, 0, 1000), -EEXIST);
	assert_int_equal(extents_available(extents), 0);
	assert_int_equal(extents_add(extents, 150, 50), 0);
	assert_int_equal(extents_give(extents, 100, 50, NULL, NULL), 0);
	assert_int_equal(extents_take(extents, 100, &offset), 0);
	assert_int_equal(offset, 100);
	assert_int_equal(extents_remove(extents, 120, 10), -EBUSY);
	assert_int_equal(extents_remove(extents, 90, 20), -EINVAL);
	extents_free(extents);
}

static void test_bad_arguments(void **state)
{
	struct extents *extents;
	uint64_t offset;

	(void)state;
	assert_int_equal(extents_new(&extents, 100), 0);
	assert_int_equal(extents_take(extents, 0, &offset), -EINVAL);
	assert_int_equal(extents_take(extents, 101, &offset), -ENOSPC);
	assert_int_equal(extents_take_at(extents, 0, 0), -EINVAL);
	assert_int_equal(extents_take_at(extents, 100, 1), -EINVAL);
	assert_int_equal(extents_take_at(extents, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(extents_take_at(extents, 2, UINT64_MAX), -EINVAL);
	assert_int_equal(extents_give(extents, 10, 10, NULL, NULL), -EINVAL);
	assert_int_equal(extents_give(extents, 90, 20, NULL, NULL), -EINVAL);
	assert_int_equal(extents_available(extents), 100);

	assert_int_equal(extents_take(extents, 100, &offset), 0);
	assert_int_equal(offset, 0);
	assert_int_equal(extents_available(extents), 0);
	assert_int_equal(extents_give(extents, 0, 100, NULL, NULL), 0);
	assert_int_equal(extents_give(extents, 0, 100, NULL, NULL), -EINVAL);
	extents_free(extents);
	extents_free(NULL);
}

static void test_best_fit(void **state)
{
	struct extents *extents;
	uint64_t offset;

	(void)state;
	assert_int_equal(extents_new(&extents, 1000), 0);
	assert_int_equal(extents_take_at(extents, 0, 1000), 0);
	assert_int_equal(extents_give(extents, 100, 50, NULL, NULL), 0);
	assert_int_equal(extents_give(extents, 700, 20, NULL, NULL), 0);
	assert_int_equal(extents_give(extents, 300, 20, NULL, NULL), 0);
	assert_int_equal(extents_take(extents, 15, &offset), 0);
	assert_int_equal(offset, 300);
	assert_int_equal(extents_take(extents, 15, &offset), 0);
	assert_int_equal(offset, 700);
	assert_int_equal(extents_take(extents, 15, &offset), 0);
	assert_int_equal(offset, 100);
	assert_int_equal(extents_take(extents, 36, &offset), -ENOSPC);
	extents_free(extents);
}

/* Comes in the order that would make a plain tree a list; the alarm ends it if it does. */
static void test_many(void **state)
{
	struct extents *extents;
	uint64_t offset;

	(void)state;
	assert_int_equal(extents_new(&extents, 2 * MANY), 0);
	assert_int_equal(extents_take(extents, 2 * MANY, &offset), 0);
	for (uint64_t i = 0; i < MANY; i++)
		assert_int_equal(extents_give(extents, 2 * i, 1, NULL, NULL), 0);
	for (uint64_t i = 0; i < MANY; i++) {
		assert_int_equal(extents_take(extents, 1, &offset), 0);
		assert_int_equal(offset, 2 * i);
	}
	assert_int_equal(extents_available(extents), 0);
	extents_free(extents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_naive),    cmocka_unit_test(test_growing_like_naive),
		cmocka_unit_test(test_bad_arguments), cmocka_unit_test(test_bad_additions),
		cmocka_unit_test(test_best_fit),      cmocka_unit_test(test_many),
	};

	alarm(300);
	return cmocka_run_group_tests_name("extents", tests, NULL, NULL);
}
