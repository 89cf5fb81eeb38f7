/* SPDX-License-Identifier: MIT */
/* The decisions of swapctl auto, with a clock that the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/size.h"
#include "policy/swap.h"

#define SECOND    UINT64_C(1000)
#define START     (1000 * SECOND) /* of the clock */
#define SUPERPAGE (2 * MiB)
#define BASE      UINT64_C(0x7f0000000000)

static const struct policy_params usual = {
	.stage_ms = 60 * SECOND,
	.backoff_ms = 45 * SECOND,
	.interval_ms = 120 * SECOND,
	.regions_per_round = 100,
	.min_free = 128 * MiB,
	.limit = 128 * MiB,
	.total_limit = 1024 * MiB,
};

/* A policy, one process, and what was decided last. */
struct bench {
	struct policy_params params;
	struct policy *policy;
	struct policy_process *process;
	struct policy_machine machine;
	struct region_vec chosen;
	char last[64]; /* "op why" */
	struct policy_number numbers[POLICY_NUMBERS];
	unsigned int decisions;
};

static void note(void *context, const struct policy_decision *decision)
{
	struct bench *b = context;

	snprintf(b->last, sizeof(b->last), "%s %s", decision->op, decision->why);
	memcpy(b->numbers, decision->numbers, sizeof(b->numbers));
	b->decisions++;
}

static uint64_t number(const struct bench *b, const char *key)
{
	for (unsigned int i = 0; i < POLICY_NUMBERS && b->numbers[i].key; i++)
		if (strcmp(b->numbers[i].key, key) == 0)
			return b->numbers[i].value;
	fail_msg("the decision \"%s\" has no %s", b->last, key);
	return 0;
}

static void at(struct bench *b, uint64_t ms)
{
	b->machine.now_ms = START + ms;
	policy_observe_machine(b->policy, &b->machine);
}

static struct policy_process *add(struct bench *b, uint64_t resident, uint64_t used)
{
	struct policy_process *process = policy_process_new(b->policy, 1, 1);
	const struct policy_observation seen = {.resident = resident, .used = used};

	assert_non_null(process);
	policy_observe(process, &seen);
	return process;
}

static int set_up(void **state)
{
	static struct bench bench;

	bench = (struct bench){.params = usual, .machine = {.free_bytes = UINT64_MAX}};
	*state = &bench;
	return 0;
}

/* When a test has set its params. */
static void open_bench(struct bench *b)
{
	b->policy = policy_new(&b->params, note, b);
	at(b, 0);
	b->process = add(b, GiB, 0);
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	region_vec_free(&b->chosen);
	policy_free(b->policy);
	return 0;
}

#define on_bench(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static struct region superpage(unsigned int i)
{
	return (struct region){BASE + i * SUPERPAGE, BASE + (i + 1) * SUPERPAGE};
}

/*
 * One round over so many superpages that are wholly resident; all that is chosen leaves. Returns how many were chosen.
 */
static size_t round_of(struct bench *b, unsigned int superpages)
{
	uint64_t bytes = policy_round(b->process);

	b->chosen.count = 0;
	if (!bytes)
		return 0;
	for (unsigned int i = 0; i < superpages; i++)
		assert_int_equal(policy_candidate(b->process, superpage(i)), 0);
	assert_int_equal(policy_choose(b->process, bytes, &b->chosen), 0);
	for (size_t i = 0; i < b->chosen.count; i++)
		assert_int_equal(policy_staged(b->process, b->chosen.items[i], region_bytes(b->chosen.items[i])), 0);
	return b->chosen.count;
}

static bool was_chosen(const struct bench *b, unsigned int i)
{
	for (size_t k = 0; k < b->chosen.count; k++)
		if (b->chosen.items[k].start == superpage(i).start)
			return true;
	return false;
}

static void test_rounds(void **state)
{
	struct bench *b = *state;

	b->params.limit = 0;
	open_bench(b);
	assert_true(policy_due(b->process));
	assert_int_equal(round_of(b, 250), 100);
	assert_string_equal(b->last, "leave regions-per-round");
	assert_int_equal(number(b, "regions"), 150);
	assert_false(policy_due(b->process));
	at(b, 120 * SECOND - 1);
	assert_false(policy_due(b->process));
	at(b, 120 * SECOND);
	assert_true(policy_due(b->process));
}

/* 45, 90, 180 … seconds after it came back; a superpage beside it is taken all the while. */
static void test_back_off_doubles(void **state)
{
	struct bench *b = *state;
	uint64_t now = 0;

	b->params.interval_ms = SECOND;
	b->params.limit = b->params.total_limit = 0;
	open_bench(b);
	for (unsigned int times = 0; times < 4; times++) {
		uint64_t alone = (45 * SECOND) << times;

		assert_int_equal(round_of(b, 2), 2);
		policy_refaulted(b->process, superpage(0), START + now + 100);
		assert_string_equal(b->last, "leave refault");
		assert_int_equal(number(b, "after_ms"), 100);
		assert_int_equal(number(b, "alone_ms"), alone);
		at(b, now + 99 + alone);
		assert_int_equal(round_of(b, 2), 1);
		assert_true(was_chosen(b, 1));
		now += 100 + alone + SECOND;
		at(b, now);
	}
}

static struct region page(unsigned int i, unsigned int n)
{
	uint64_t start = superpage(i).start + n * page_size();

	return (struct region){start, start + page_size()};
}

static uint64_t chosen_bytes(const struct bench *b)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < b->chosen.count; i++)
		sum += region_bytes(b->chosen.items[i]);
	return sum;
}

/* One page in ten is hot, all over the memory: nine tenths of it are out after the second round, and nothing else. */
static void test_a_hot_page_keeps_a_page(void **state)
{
	struct bench *b = *state;

	b->params.limit = b->params.total_limit = 0;
	b->params.interval_ms = SECOND;
	open_bench(b);
	assert_int_equal(round_of(b, 8), 8);
	for (unsigned int i = 0; i < 8; i++)
		for (unsigned int n = 0; n < 512; n += 10)
			policy_refaulted(b->process, page(i, n), START + 1);
	at(b, SECOND);
	assert_int_equal(round_of(b, 8), 8 * 52);
	assert_int_equal(chosen_bytes(b), 8 * (512 - 52) * page_size());
	for (size_t i = 0; i < b->chosen.count; i++)
		for (unsigned int n = 0; n < 512; n += 10)
			assert_false(region_overlaps(b->chosen.items[i], page(0, n)));
}

/* What is between hot pages is hot, where most are. */
static void test_a_window_of_hot_pages_is_hot(void **state)
{
	struct bench *b = *state;

	b->params.interval_ms = SECOND;
	open_bench(b);
	round_of(b, 1);
	policy_refaulted(b->process, (struct region){BASE, BASE + 47 * page_size()}, START + 1);
	at(b, SECOND);
	round_of(b, 1);
	assert_int_equal(chosen_bytes(b), SUPERPAGE - 47 * page_size());
	policy_refaulted(b->process, page(0, 60), START + SECOND);
	at(b, 2 * SECOND);
	round_of(b, 1);
	assert_int_equal(chosen_bytes(b), SUPERPAGE - 64 * page_size());
}

/*
 * Hot pages are tried again some at a time: a fiftieth of what is resident, and twice as much each time as long as they
 * stay out.
 */
static void test_hot_pages_are_tried_again_in_parts(void **state)
{
	struct bench *b = *state;
	const struct policy_observation seen = {.resident = 64 * MiB};

	b->params.interval_ms = SECOND;
	b->params.limit = b->params.total_limit = 0;
	open_bench(b);
	policy_observe(b->process, &seen);
	round_of(b, 32);
	policy_refaulted(b->process, (struct region){BASE, BASE + 64 * MiB}, START + 1);
	for (unsigned int i = 0; i < 2; i++) { /* all that is tried comes back */
		at(b, (100 + i) * SECOND);
		policy_observe(b->process, &seen);
		round_of(b, 32);
		assert_in_range(chosen_bytes(b), 64 * MiB / 50 - page_size(), 64 * MiB / 50);
		policy_refaulted(b->process, (struct region){BASE, BASE + 64 * MiB}, b->machine.now_ms);
	}
	for (unsigned int i = 0; i < 3; i++) {
		at(b, (102 + i) * SECOND);
		policy_observe(b->process, &seen);
		round_of(b, 32);
		assert_in_range(chosen_bytes(b), (64 * MiB / 50 - page_size()) << i, 64 * MiB / 50 << i);
	}
}

/* What was to be tried again, but did not leave before something colder, says nothing. */
static void test_what_was_not_tried_has_not_stayed_out(void **state)
{
	const struct policy_observation seen = {.resident = 64 * MiB};
	struct bench *b = *state;

	b->params.interval_ms = SECOND;
	b->params.regions_per_round = 32;
	b->params.limit = b->params.total_limit = 0;
	open_bench(b);
	policy_observe(b->process, &seen);
	round_of(b, 32);
	policy_refaulted(b->process, (struct region){BASE, BASE + 64 * MiB}, START + 1);
	for (unsigned int i = 0; i < 6; i++) {
		at(b, (100 + i) * SECOND);
		policy_observe(b->process, &seen);
		policy_round(b->process);
		for (unsigned int k = 0; k < 64; k++)
			assert_int_equal(policy_candidate(b->process, superpage(k)), 0);
		b->chosen.count = 0;
		assert_int_equal(policy_choose(b->process, UINT64_MAX, &b->chosen), 0);
		assert_int_equal(b->chosen.count, 32);
		assert_false(was_chosen(b, 0));
	}
	at(b, 106 * SECOND);
	policy_observe(b->process, &seen);
	round_of(b, 32);
	assert_in_range(chosen_bytes(b), 64 * MiB / 50 - page_size(), 64 * MiB / 50);
}

static void test_what_was_used_stays_for_a_while(void **state)
{
	struct bench *b = *state;

	b->params.interval_ms = SECOND;
	open_bench(b);
	assert_int_equal(policy_accessed(b->process, page(0, 7)), 0);
	round_of(b, 1);
	assert_int_equal(chosen_bytes(b), SUPERPAGE - page_size());
	at(b, 45 * SECOND);
	round_of(b, 1);
	assert_int_equal(chosen_bytes(b), SUPERPAGE);
}

/* All that is offered leaves, superpages that no test looks at. */
static void turn_over(struct bench *b, unsigned int superpages)
{
	const struct policy_observation seen = {.resident = GiB};
	uint64_t bytes;

	policy_observe(b->process, &seen);
	bytes = policy_round(b->process);
	b->chosen.count = 0;
	for (unsigned int i = 0; i < superpages; i++)
		assert_int_equal(policy_candidate(b->process, superpage(1000 + i)), 0);
	assert_int_equal(policy_choose(b->process, bytes, &b->chosen), 0);
	for (size_t i = 0; i < b->chosen.count; i++)
		assert_int_equal(policy_staged(b->process, b->chosen.items[i], SUPERPAGE), 0);
}

/* Where memory is held to a target, a page that would not stay if it were kept is not kept. */
static void test_what_comes_back_after_a_turnover_is_not_hot(void **state)
{
	struct bench *b = *state;

	b->params.when = POLICY_TARGET;
	b->params.target = GiB / 2;
	b->params.interval_ms = SECOND;
	b->params.limit = b->params.total_limit = 0;
	open_bench(b);
	assert_int_equal(round_of(b, 2), 2);
	for (unsigned int i = 1; i <= 6; i++) {
		at(b, i * SECOND);
		turn_over(b, 100);
		if (i == 5) {
			policy_refaulted(b->process, page(0, 0), b->machine.now_ms);
			assert_string_equal(b->last, "leave refault");
			assert_int_equal(number(b, "after_ms"), 5 * SECOND);
		}
	}
	b->decisions = 0;
	policy_refaulted(b->process, page(1, 0), b->machine.now_ms);
	assert_int_equal(b->decisions, 0);
}

static void test_late_refault_is_no_reason(void **state)
{
	struct bench *b = *state;
	unsigned int before;

	open_bench(b);
	assert_int_equal(round_of(b, 1), 1);
	before = b->decisions;
	policy_refaulted(b->process, superpage(0), START + 45 * SECOND);
	assert_int_equal(b->decisions, before);
	at(b, 120 * SECOND);
	assert_int_equal(round_of(b, 1), 1);
	/* One that comes back at 44.999 s is. */
	policy_refaulted(b->process, superpage(0), START + 165 * SECOND - 1);
	assert_string_equal(b->last, "leave refault");
}

/* Nobody vouches for what a session says. */
static void test_refault_of_everything(void **state)
{
	struct bench *b = *state;

	b->params.interval_ms = SECOND;
	open_bench(b);
	assert_int_equal(round_of(b, 3), 3);
	assert_int_not_equal(
		policy_refaulted(b->process, (struct region){0, round_down(UINT64_MAX, page_size())}, START), 0);
	at(b, SECOND);
	assert_int_equal(round_of(b, 3), 0);
	assert_int_equal(policy_refaulted(b->process, (struct region){BASE, 0}, START), 0);
}

static void test_refault_of_what_was_not_staged_here(void **state)
{
	struct bench *b = *state;

	open_bench(b);
	policy_refaulted(b->process, superpage(0), START);
	assert_int_equal(b->decisions, 0);
	assert_int_equal(round_of(b, 1), 1);
}

/* Such as when nothing has pressed for a month. */
static void test_what_was_hot_a_month_ago_is_not(void **state)
{
	struct bench *b = *state;

	b->params.limit = b->params.total_limit = 0;
	open_bench(b);
	round_of(b, 1);
	policy_refaulted(b->process, superpage(0), START + 1);
	at(b, 30 * 86400 * SECOND);
	assert_int_equal(round_of(b, 1), 1);
}

/* After four times as long in peace as it would be left alone for next it is like new: 45 s again, not 90. */
static void test_peace_forgives(void **state)
{
	struct bench *b = *state;

	b->params.interval_ms = SECOND;
	open_bench(b);
	round_of(b, 1);
	policy_refaulted(b->process, superpage(0), START);
	at(b, (45 + 4 * 90) * SECOND);
	assert_int_equal(round_of(b, 0), 0); /* which forgets */
	at(b, (46 + 4 * 90) * SECOND);
	assert_int_equal(round_of(b, 1), 1);
	policy_refaulted(b->process, superpage(0), b->machine.now_ms);
	assert_int_equal(number(b, "alone_ms"), 45 * SECOND);
}

static void test_what_never_came_back_goes_first(void **state)
{
	struct bench *b = *state;

	b->params.regions_per_round = 2;
	open_bench(b);
	assert_int_equal(round_of(b, 2), 2);
	policy_refaulted(b->process, superpage(0), START);
	policy_refaulted(b->process, superpage(1), START);
	at(b, 120 * SECOND);
	assert_int_equal(round_of(b, 4), 2);
	assert_true(was_chosen(b, 2) && was_chosen(b, 3));
}

/* What is beyond the budget is not asked for, and so is not found refused. */
static void test_no_more_is_chosen_than_may_leave(void **state)
{
	struct bench *b = *state;
	uint64_t bytes;

	b->params.when = POLICY_TARGET;
	b->params.target = GiB - 10 * page_size() + 1;
	open_bench(b);
	bytes = policy_round(b->process);
	assert_int_equal(bytes, 10 * page_size());
	for (unsigned int n = 0; n < 512; n += 4)
		assert_int_equal(policy_candidate(b->process, (struct region){page(0, n).start, page(0, n + 2).end}),
				 0);
	assert_int_equal(policy_choose(b->process, bytes, &b->chosen), 0);
	assert_int_equal(b->chosen.count, 4);
	assert_int_equal(chosen_bytes(b), bytes);
}

static void test_what_cannot_leave_is_not_asked_for_ever(void **state)
{
	struct bench *b = *state;

	open_bench(b);
	assert_int_not_equal(policy_round(b->process), 0);
	assert_int_equal(policy_staged(b->process, superpage(0), 0), 0);
	assert_string_equal(b->last, "leave refused");
	assert_int_equal(number(b, "alone_ms"), 45 * SECOND);
}

/*
 * Records can be no longer than their pages, but for a little: what is asked for never exceeds what is left of the
 * limit.
 */
static void test_limits(void **state)
{
	struct bench *b = *state;
	struct policy_observation seen = {.resident = GiB, .used = 100 * MiB};

	open_bench(b);
	policy_observe(b->process, &seen);
	assert_in_range(policy_round(b->process), 20 * MiB, 28 * MiB);
	seen.used = 127 * MiB;
	policy_observe(b->process, &seen);
	at(b, 120 * SECOND);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait limit");
	assert_int_equal(number(b, "used_bytes"), 127 * MiB);
	assert_int_equal(number(b, "limit_bytes"), 128 * MiB);
	add(b, GiB, 1000 * MiB);
	seen.used = 10 * MiB;
	policy_observe(b->process, &seen);
	at(b, 240 * SECOND);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait total-limit");
	assert_int_equal(number(b, "total_used_bytes"), 1010 * MiB);
}

static void test_no_limit(void **state)
{
	struct bench *b = *state;

	b->params.limit = b->params.total_limit = 0;
	open_bench(b);
	assert_true(policy_round(b->process) == UINT64_MAX);
}

static void test_small_processes_are_left_alone(void **state)
{
	struct bench *b = *state;
	const struct policy_observation seen = {.resident = SUPERPAGE - 1};

	open_bench(b);
	policy_observe(b->process, &seen);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait small");
}

static void test_pressure(void **state)
{
	struct bench *b = *state;

	b->params.when = POLICY_PRESSURE;
	open_bench(b);
	assert_false(policy_due(b->process));
	assert_true(policy_next(b->policy) == UINT64_MAX);
	b->machine.pressed = true;
	at(b, 5 * SECOND);
	assert_true(policy_due(b->process));
	assert_int_equal(round_of(b, 1), 1);
	at(b, 6 * SECOND);
	assert_false(policy_due(b->process));
	at(b, 125 * SECOND);
	assert_true(policy_due(b->process));
	b->machine.pressed = false;
	at(b, 126 * SECOND);
	assert_false(policy_due(b->process));
}

/* All processes count, and what has left since they were looked at. */
static void test_target(void **state)
{
	struct bench *b = *state;

	b->params.when = POLICY_TARGET;
	b->params.target = GiB;
	open_bench(b);
	add(b, 10 * MiB, 0);
	assert_int_equal(policy_round(b->process), 10 * MiB);
	assert_int_equal(policy_candidate(b->process, superpage(0)), 0);
	assert_int_equal(policy_staged(b->process, superpage(0), SUPERPAGE), 0);
	assert_int_equal(policy_round(b->process), 8 * MiB);
	assert_int_equal(policy_staged(b->process, superpage(0), 8 * MiB), 0);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait target");
	assert_int_equal(number(b, "total_resident_bytes"), GiB);
}

/*
 * 1 % of the time may be waited. A hundredth of what is resident at most, half of that at half the pressure, nothing at
 * all of it.
 */
static void test_hold(void **state)
{
	struct bench *b = *state;
	struct policy_observation seen = {.resident = GiB};

	b->params.when = POLICY_HOLD;
	b->params.hold_ppm = 10000;
	b->params.limit = 0;
	open_bench(b);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait first-look");
	at(b, 100 * SECOND);
	assert_in_range(policy_round(b->process), GiB / 100 - MiB, GiB / 100);
	at(b, 200 * SECOND);
	b->machine.stalled_us = 250000; /* the kernel's, and the process's own */
	policy_observe_machine(b->policy, &b->machine);
	seen.stalled_us = 250000;
	policy_observe(b->process, &seen);
	assert_in_range(policy_round(b->process), GiB / 200 - MiB, GiB / 200);
	at(b, 300 * SECOND);
	seen.stalled_us = 1250000;
	policy_observe(b->process, &seen);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait pressure");
	assert_int_equal(number(b, "stalled_us"), 1000000);
	assert_int_equal(number(b, "allowed_us"), 1000000);
}

/* A target is reached in ever larger rounds, from small ones again after threads have waited for too long. */
static void test_hold_and_target(void **state)
{
	struct bench *b = *state;
	struct policy_observation seen = {.resident = GiB};

	b->params.when = POLICY_HOLD | POLICY_TARGET;
	b->params.hold_ppm = 10000;
	b->params.target = GiB - 80 * MiB;
	b->params.limit = 0;
	open_bench(b);
	assert_int_equal(policy_round(b->process), 0);
	for (unsigned int i = 0; i < 3; i++) {
		at(b, (i + 1) * 10 * SECOND);
		assert_in_range(policy_round(b->process), (GiB << i) / 100 - MiB, (GiB << i) / 100);
	}
	at(b, 40 * SECOND);
	assert_int_equal(policy_round(b->process), 80 * MiB);
	at(b, 50 * SECOND);
	seen.stalled_us = 100000;
	policy_observe(b->process, &seen);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait pressure");
	at(b, 60 * SECOND);
	assert_in_range(policy_round(b->process), GiB / 100 - MiB, GiB / 100);
	at(b, 70 * SECOND);
	seen.resident = GiB - 80 * MiB;
	policy_observe(b->process, &seen);
	assert_int_equal(policy_round(b->process), 0);
	assert_string_equal(b->last, "wait target");
}

static void test_hold_over_a_year(void **state)
{
	struct bench *b = *state;
	const uint64_t year = 365 * 86400 * SECOND;

	b->params.when = POLICY_HOLD;
	b->params.hold_ppm = 1000000;
	b->params.interval_ms = year;
	open_bench(b);
	policy_round(b->process);
	at(b, year);
	b->machine.stalled_us = year * 1000;
	policy_observe_machine(b->policy, &b->machine);
	assert_int_equal(policy_round(b->process), 0);
	assert_true(number(b, "allowed_us") == year * 1000);
}

static void test_no_session_for_little(void **state)
{
	struct bench *b = *state;
	struct policy_observation seen = {.resident = GiB};

	b->params.min_saved = 16 * MiB;
	open_bench(b);
	assert_int_equal(round_of(b, 7), 0);
	assert_string_equal(b->last, "wait saves-little");
	assert_int_equal(number(b, "resident_bytes"), 14 * MiB);
	at(b, 120 * SECOND);
	assert_int_equal(round_of(b, 8), 8);
	/* Where there is a session already, any will do. */
	seen.served = true;
	policy_observe(b->process, &seen);
	at(b, 240 * SECOND);
	assert_int_equal(round_of(b, 1), 1);
}

static void test_a_session_that_saves_little_ends(void **state)
{
	struct bench *b = *state;
	struct policy_observation seen = {.resident = GiB, .served = true, .out = 16 * MiB};

	b->params.min_saved = 16 * MiB;
	open_bench(b);
	assert_int_equal(round_of(b, 8), 8);
	at(b, 120 * SECOND);
	policy_observe(b->process, &seen);
	assert_true(policy_pays(b->process));
	seen.out = 8 * MiB - 1;
	at(b, 45 * SECOND - 1);
	policy_observe(b->process, &seen);
	assert_true(policy_pays(b->process));
	at(b, 120 * SECOND);
	assert_false(policy_pays(b->process));
	assert_string_equal(b->last, "end little-out");
	at(b, (120 + 45) * SECOND - 1);
	assert_false(policy_due(b->process));
	at(b, (120 + 45) * SECOND);
	assert_true(policy_due(b->process));
	/* Longer each time. */
	assert_false(policy_pays(b->process));
	at(b, (120 + 45 + 90) * SECOND - 1);
	assert_false(policy_due(b->process));
	at(b, (120 + 45 + 90) * SECOND);
	assert_true(policy_due(b->process));
}

static void test_a_session_of_a_program_that_forks_much_ends(void **state)
{
	struct bench *b = *state;
	struct policy_observation seen = {.resident = GiB, .served = true, .out = 32 * MiB, .forks = 1000};

	b->params.min_saved = 16 * MiB;
	open_bench(b);
	policy_observe(b->process, &seen);
	assert_true(policy_pays(b->process)); /* not known how fast */
	at(b, 10 * SECOND);
	seen.forks += 20;
	policy_observe(b->process, &seen);
	assert_true(policy_pays(b->process)); /* 32 MiB are worth two a second */
	at(b, 20 * SECOND);
	seen.forks += 21;
	policy_observe(b->process, &seen);
	assert_false(policy_pays(b->process));
	assert_string_equal(b->last, "end forks");
	assert_int_equal(number(b, "forks"), 21);
}

static void test_written_back_when_old_enough(void **state)
{
	struct bench *b = *state;
	uint64_t age = 0;
	uint64_t bytes = 1;

	open_bench(b);
	assert_false(policy_writeback(b->process, &age, &bytes));
	assert_int_equal(round_of(b, 1), 1);
	assert_true(policy_next(b->policy) == START + 60 * SECOND);
	at(b, 60 * SECOND - 1);
	assert_false(policy_writeback(b->process, &age, &bytes));
	at(b, 60 * SECOND);
	assert_true(policy_writeback(b->process, &age, &bytes));
	assert_string_equal(b->last, "writeback untouched");
	assert_int_equal(age, 60 * SECOND);
	assert_int_equal(bytes, 0);
	/* The oldest of what is left has 20 s to go. */
	policy_written(b->process, MiB, 40 * SECOND, false);
	at(b, 80 * SECOND - 1);
	assert_false(policy_writeback(b->process, &age, &bytes));
	at(b, 80 * SECOND);
	assert_true(policy_writeback(b->process, &age, &bytes));
	policy_written(b->process, 0, 0, false);
	assert_true(policy_next(b->policy) == START + 120 * SECOND);
}

static void test_disk_space_is_spared(void **state)
{
	struct bench *b = *state;
	uint64_t age;
	uint64_t bytes;

	open_bench(b);
	round_of(b, 1);
	b->machine.free_bytes = 128 * MiB;
	at(b, 60 * SECOND);
	assert_false(policy_writeback(b->process, &age, &bytes));
	assert_string_equal(b->last, "wait min-free");
	assert_int_equal(number(b, "free_bytes"), 128 * MiB);
	b->machine.free_bytes = 130 * MiB;
	at(b, 120 * SECOND);
	assert_true(policy_writeback(b->process, &age, &bytes));
	assert_int_equal(bytes, 2 * MiB);
	/* It failed all the same: not again at once. */
	policy_written(b->process, MiB, 120 * SECOND, true);
	at(b, 121 * SECOND);
	assert_false(policy_writeback(b->process, &age, &bytes));
}

static void test_unknown_refaults_delay_everything(void **state)
{
	struct bench *b = *state;

	open_bench(b);
	at(b, 120 * SECOND);
	assert_true(policy_due(b->process));
	policy_refaults_lost(b->process, 7);
	assert_string_equal(b->last, "wait refaults-lost");
	assert_false(policy_due(b->process));
	at(b, 165 * SECOND);
	assert_true(policy_due(b->process));
}

static void test_postponed(void **state)
{
	struct bench *b = *state;

	open_bench(b);
	policy_postpone(b->process, SECOND);
	assert_false(policy_due(b->process));
	assert_true(policy_next(b->policy) == START + SECOND);
	at(b, SECOND);
	assert_true(policy_due(b->process));
	policy_postpone(b->process, UINT64_MAX);
	at(b, 1000000 * SECOND);
	assert_false(policy_due(b->process));
	assert_true(policy_next(b->policy) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_bench(test_rounds),
		on_bench(test_back_off_doubles),
		on_bench(test_a_hot_page_keeps_a_page),
		on_bench(test_a_window_of_hot_pages_is_hot),
		on_bench(test_hot_pages_are_tried_again_in_parts),
		on_bench(test_what_was_not_tried_has_not_stayed_out),
		on_bench(test_what_was_used_stays_for_a_while),
		on_bench(test_what_comes_back_after_a_turnover_is_not_hot),
		on_bench(test_late_refault_is_no_reason),
		on_bench(test_refault_of_everything),
		on_bench(test_refault_of_what_was_not_staged_here),
		on_bench(test_what_was_hot_a_month_ago_is_not),
		on_bench(test_peace_forgives),
		on_bench(test_what_never_came_back_goes_first),
		on_bench(test_no_more_is_chosen_than_may_leave),
		on_bench(test_what_cannot_leave_is_not_asked_for_ever),
		on_bench(test_limits),
		on_bench(test_no_limit),
		on_bench(test_small_processes_are_left_alone),
		on_bench(test_pressure),
		on_bench(test_target),
		on_bench(test_hold),
		on_bench(test_hold_and_target),
		on_bench(test_hold_over_a_year),
		on_bench(test_no_session_for_little),
		on_bench(test_a_session_that_saves_little_ends),
		on_bench(test_a_session_of_a_program_that_forks_much_ends),
		on_bench(test_written_back_when_old_enough),
		on_bench(test_disk_space_is_spared),
		on_bench(test_unknown_refaults_delay_everything),
		on_bench(test_postponed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
