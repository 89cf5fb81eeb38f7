/* SPDX-License-Identifier: MIT */
/* Sizes, addresses, regions, text, arrays and clocks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/region.h"
#include "base/size.h"
#include "base/text.h"

static void sizes_take_units_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"1K", KiB},
		{"2M", 2 * MiB},
		{"3g", 3 * GiB},
		{"1T", TiB},
		{"16KiB", 16 * KiB},
		{"16kb", 16 * KiB},
		{"9223372036854775807", INT64_MAX},
		{"8388607T", 8388607 * TiB},
		{"1.5G", 3 * GiB / 2},
		{"0.25K", 256},
		{"1.3k", 1331},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t bytes = 12345;

		assert_int_equal(size_parse(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
}

static void sizes_that_are_not_sizes_are_refused(void **state)
{
	static const char *const bad[] = {"",    "K",  "-1", "+1",  "1.5",   "1.M",  "1.0000000001M", ".5M",
					  "1 M", " 1", "1X", "1MM", "1MiBs", "0x10", "1KiBK",         "1B"};
	static const char *const large[] = {"9223372036854775808", "18446744073709551616", "8388608T",
					    "99999999999999999999999K"};
	uint64_t bytes = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(size_parse(bad[i], &bytes), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		assert_int_equal(size_parse(large[i], &bytes), -ERANGE);
	assert_int_equal(bytes, 7);
}

static void sizes_are_printed_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{MiB - 1, "1.0 MiB"},
		{298007593, "284.2 MiB"},
		{1023 * MiB + 900 * KiB, "1023.9 MiB"},
		{TiB, "1.0 TiB"},
		{UINT64_MAX, "16.0 EiB"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[SIZE_TEXT];

		assert_string_equal(size_format(text, cases[i].bytes), cases[i].text);
	}
}

static void sizes_beside_one_another_have_one_unit(void **state)
{
	char text[SIZE_TEXT];

	(void)state;
	assert_string_equal(size_format_beside(text, 512 * KiB, 2 * MiB), "0.5 MiB");
	assert_string_equal(size_format_beside(text, 0, 2 * MiB), "0 B");
	assert_string_equal(size_format_beside(text, 4 * KiB, GiB), "4.0 KiB");
	assert_string_equal(size_format_beside(text, GiB, 4 * KiB), "1.0 GiB");
}

static void times_are_printed_for_people(void **state)
{
	char text[SIZE_TEXT];

	(void)state;
	assert_string_equal(duration_format(text, 0), "0 us");
	assert_string_equal(duration_format(text, 999), "999 us");
	assert_string_equal(duration_format(text, 1234), "1.2 ms");
	assert_string_equal(duration_format(text, 1100000), "1.1 s");
	assert_string_equal(duration_format(text, 90000000), "1.5 m");
	assert_string_equal(duration_format(text, UINT64_C(7200000000)), "2.0 h");
}

static void numbers_keep_to_their_bounds(void **state)
{
	int64_t number = 77;

	(void)state;
	assert_int_equal(number_parse("-5", -10, 10, &number), 0);
	assert_int_equal(number, -5);
	assert_int_equal(number_parse("9223372036854775807", 0, INT64_MAX, &number), 0);
	assert_true(number == INT64_MAX);
	number = 77;
	assert_int_equal(number_parse("11", -10, 10, &number), -ERANGE);
	assert_int_equal(number_parse("-11", -10, 10, &number), -ERANGE);
	assert_int_equal(number_parse("9223372036854775808", 0, INT64_MAX, &number), -ERANGE);
	assert_int_equal(number_parse("", 0, 10, &number), -EINVAL);
	assert_int_equal(number_parse("-", -10, 10, &number), -EINVAL);
	assert_int_equal(number_parse("--1", -10, 10, &number), -EINVAL);
	assert_int_equal(number_parse("1a", 0, 10, &number), -EINVAL);
	assert_int_equal(number_parse(" 1", 0, 10, &number), -EINVAL);
	assert_int_equal(number, 77);
}

static void test_duration_parse(void **state)
{
	static const char *const wrong[] = {"", "1", "ms", "-1s", "1.s", "1 s", "1s ", "1M", "1S", "s1", "1d"};
	uint64_t us = 1;

	(void)state;
	assert_int_equal(duration_parse("0s", NULL, &us), 0);
	assert_int_equal(us, 0);
	assert_int_equal(duration_parse("500us", NULL, &us), 0);
	assert_int_equal(us, 500);
	assert_int_equal(duration_parse("150ms", NULL, &us), 0);
	assert_int_equal(us, 150000);
	assert_int_equal(duration_parse("1.5s", NULL, &us), 0);
	assert_int_equal(us, 1500000);
	assert_int_equal(duration_parse("0.5h", NULL, &us), 0);
	assert_int_equal(us, UINT64_C(1800000000));
	assert_int_equal(duration_parse("10m", "s", &us), 0);
	assert_int_equal(us, 600000000);
	assert_int_equal(duration_parse("2.5", "ms", &us), 0);
	assert_int_equal(us, 2500);
	assert_int_equal(duration_parse("1000000000s", NULL, &us), 0);
	assert_int_equal(us, UINT64_C(1000000000000000));
	assert_int_equal(duration_parse("1000000001s", NULL, &us), -ERANGE);
	assert_int_equal(duration_parse("99999999999999999999999s", NULL, &us), -ERANGE);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(duration_parse(wrong[i], NULL, &us), -EINVAL);
}

static void addresses_are_hexadecimal(void **state)
{
	char text[ADDRESS_TEXT];
	uint64_t address = 5;

	(void)state;
	assert_int_equal(address_parse("0x7f00DEAD0000", &address), 0);
	assert_true(address == 0x7f00dead0000);
	assert_string_equal(address_format(text, address), "0x7f00dead0000");
	assert_int_equal(address_parse("10", &address), 0);
	assert_int_equal(address, 16);
	assert_int_equal(address_parse("ffffffffffffffff", &address), 0);
	assert_string_equal(address_format(text, address), "0xffffffffffffffff");
	assert_int_equal(address_parse("0x10000000000000000", &address), -ERANGE);
	assert_int_equal(address_parse("0x", &address), -EINVAL);
	assert_int_equal(address_parse("", &address), -EINVAL);
	assert_int_equal(address_parse("-1", &address), -EINVAL);
	assert_int_equal(address_parse("0xg", &address), -EINVAL);
	assert_int_equal(address_parse("10 ", &address), -EINVAL);
}

static void rounding_goes_to_powers_of_two(void **state)
{
	(void)state;
	assert_int_equal(round_up(1, 4096), 4096);
	assert_int_equal(round_up(4096, 4096), 4096);
	assert_int_equal(round_down(8191, 4096), 4096);
	assert_true(is_power_of_two(1) && is_power_of_two(1ULL << 63));
	assert_false(is_power_of_two(0) || is_power_of_two(6));
	assert_true(is_power_of_two(page_size()) && page_size() >= 4096);
}

static void ranges_are_parsed_as_in_proc_maps(void **state)
{
	static const char *const bad[] = {"",      "10",       "10-",    "-20",  "20-10",
					  "10-10", "10-20-30", "1 0-20", "x-20", "12345678901234567890123-1"};
	struct region region = {1, 2};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(region_parse(bad[i], &region), -EINVAL);
	assert_true(region.start == 1 && region.end == 2);
	assert_int_equal(region_parse("0x1000+1.5K", &region), 0);
	assert_int_equal(region.start, 0x1000);
	assert_int_equal(region.end, 0x1600);
	assert_int_equal(region_parse("7f0000000000-0x7f0000200000", &region), 0);
	assert_true(region.start == 0x7f0000000000 && region.end == 0x7f0000200000);
	assert_int_equal(region_bytes(region), 2 * MiB);
}

static void inclusive_bounds_become_half_open(void **state)
{
	struct region region = {1, 2};

	(void)state;
	assert_int_equal(region_from_inclusive(10, 9, &region), -EINVAL);
	assert_int_equal(region_from_inclusive(10, UINT64_MAX, &region), -EINVAL);
	assert_int_equal(region.end, 2);
	assert_int_equal(region_from_inclusive(10, 10, &region), 0);
	assert_int_equal(region.start, 10);
	assert_int_equal(region.end, 11);
	assert_int_equal(region_from_inclusive(0, UINT64_MAX - 1, &region), 0);
	assert_int_equal(region.end, UINT64_MAX);
}

static void the_common_part_of_distant_regions_is_empty(void **state)
{
	struct region common;

	(void)state;
	common = region_intersect((struct region){10, 20}, (struct region){15, 30});
	assert_true(common.start == 15 && common.end == 20);
	common = region_intersect((struct region){10, 20}, (struct region){20, 30});
	assert_int_equal(region_bytes(common), 0);
	common = region_intersect((struct region){40, 50}, (struct region){20, 30});
	assert_int_equal(region_bytes(common), 0);
}

static void push_all(struct region_vec *vec, const struct region *regions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(region_vec_push(vec, regions[i]), 0);
}

static void assert_regions(const struct region_vec *vec, const struct region *wanted, size_t count)
{
	assert_int_equal(vec->count, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(vec->items[i].start, wanted[i].start);
		assert_int_equal(vec->items[i].end, wanted[i].end);
	}
}

static void appending_joins_what_touches_the_last(void **state)
{
	static const struct region given[] = {{10, 20}, {20, 30}, {31, 40}, {40, 41}, {10, 20}};
	static const struct region wanted[] = {{10, 30}, {31, 41}, {10, 20}};
	_cleanup_regions_ struct region_vec vec = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		assert_int_equal(region_vec_append(&vec, given[i]), 0);
	assert_regions(&vec, wanted, ARRAY_SIZE(wanted));
}

static void normalizing_joins_neighbours_and_overlaps(void **state)
{
	static const struct region given[] = {{50, 60}, {10, 20}, {20, 30}, {5, 5}, {12, 14}, {40, 45}};
	static const struct region wanted[] = {{10, 30}, {40, 45}, {50, 60}};
	_cleanup_regions_ struct region_vec vec = {0};

	(void)state;
	region_vec_normalize(&vec);
	assert_int_equal(vec.count, 0);
	push_all(&vec, given, ARRAY_SIZE(given));
	region_vec_normalize(&vec);
	assert_regions(&vec, wanted, ARRAY_SIZE(wanted));
}

static void overlaps_are_found(void **state)
{
	static const struct region apart[] = {{10, 20}, {20, 30}, {30, 31}};
	_cleanup_regions_ struct region_vec vec = {0};

	(void)state;
	assert_int_equal(region_vec_overlap(&vec), -1);
	push_all(&vec, apart, ARRAY_SIZE(apart));
	assert_int_equal(region_vec_overlap(&vec), -1);
	assert_int_equal(region_vec_push(&vec, (struct region){29, 40}), 0);
	region_vec_sort(&vec);
	assert_int_equal(region_vec_overlap(&vec), 1);
}

static void vectors_intersect_in_order(void **state)
{
	static const struct region of[] = {{0, 100}, {200, 300}, {400, 410}};
	static const struct region within[] = {{10, 20}, {30, 40}, {90, 250}, {260, 270}, {300, 400}};
	static const struct region wanted[] = {{10, 20}, {30, 40}, {90, 100}, {200, 250}, {260, 270}};
	_cleanup_regions_ struct region_vec a = {0}, b = {0}, out = {0};

	(void)state;
	push_all(&a, of, ARRAY_SIZE(of));
	push_all(&b, within, ARRAY_SIZE(within));
	assert_int_equal(region_vec_intersect(&a, &b, &out), 0);
	assert_regions(&out, wanted, ARRAY_SIZE(wanted));
}

/* Bytes 0..99 as a bitmap: regions drawn at random must agree with it. */
static void vectors_agree_with_a_bitmap(void **state)
{
	unsigned int seed = 42;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct region_vec vecs[2] = {{0}, {0}}, out = {0};
		bool in[2][100] = {{0}}, seen[100] = {0};

		for (int i = 0; i < 16; i++) {
			uint64_t start = (uint64_t)rand_r(&seed) % 95;
			struct region r = {start, start + (uint64_t)rand_r(&seed) % 6};

			assert_int_equal(region_vec_push(&vecs[i & 1], r), 0);
			for (uint64_t x = r.start; x < r.end; x++)
				in[i & 1][x] = true;
		}
		region_vec_normalize(&vecs[0]);
		region_vec_normalize(&vecs[1]);
		assert_int_equal(region_vec_overlap(&vecs[0]), -1);
		assert_int_equal(region_vec_intersect(&vecs[0], &vecs[1], &out), 0);
		assert_int_equal(region_vec_overlap(&out), -1);
		for (size_t i = 0; i < out.count; i++)
			for (uint64_t x = out.items[i].start; x < out.items[i].end; x++)
				seen[x] = true;
		for (int x = 0; x < 100; x++)
			assert_int_equal(seen[x], in[0][x] && in[1][x]);
		out.count = 0;
		assert_int_equal(region_vec_gaps(&vecs[0], (struct region){10, 90}, &out), 0);
		assert_int_equal(region_vec_overlap(&out), -1);
		memset(seen, 0, sizeof(seen));
		for (size_t i = 0; i < out.count; i++)
			for (uint64_t x = out.items[i].start; x < out.items[i].end; x++)
				seen[x] = true;
		for (int x = 0; x < 100; x++)
			assert_int_equal(seen[x], x >= 10 && x < 90 && !in[0][x]);
		region_vec_free(&vecs[0]);
		region_vec_free(&vecs[1]);
		region_vec_free(&out);
	}
}

static void text_for_a_terminal_steers_nothing(void **state)
{
	char text[] = "a\033[31mb\x7f\n\xc2\x9b"
		      "c\x80\xff\xc0\xaf é…\xf0\x9f\x90\xa7\xe2\x82";

	(void)state;
	assert_string_equal(text_make_safe(text), "a?[31mb???c???? é…\xf0\x9f\x90\xa7??");
	assert_int_equal(text_width("é…x"), 3);
}

static void owners_let_go_what_was_taken(void **state)
{
	char *owner = strdup("x"), *taken = steal_ptr(&owner);
	int fd = 5;

	(void)state;
	assert_null(owner);
	assert_string_equal(taken, "x");
	free(taken);
	assert_int_equal(steal_fd(&fd), 5);
	assert_int_equal(fd, -1);
}

/* Inserting and removing at random, held against a map of pages. */
static void test_region_vec_changes(void **state)
{
	static bool there[200];
	struct region_vec vec = {0};
	uint64_t seed = 7;

	(void)state;
	memset(there, 0, sizeof(there));
	for (unsigned int step = 0; step < 20000; step++) {
		uint64_t start, length;
		bool insert;

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		start = (seed >> 33) % 180;
		length = (seed >> 48) % 20;
		insert = seed >> 63;
		assert_int_equal(
			(insert ? region_vec_insert : region_vec_remove)(&vec, (struct region){start, start + length}),
			0);
		for (uint64_t i = start; i < start + length; i++)
			there[i] = insert;
		for (uint64_t i = 0; i < 200; i++) {
			const struct region *found = region_vec_find(&vec, i);

			assert_int_equal(found != NULL, there[i]);
			assert_true(!found || (found->start <= i && i < found->end));
			assert_int_equal(region_vec_overlaps(&vec, (struct region){i, i + 2}),
					 there[i] || (i + 1 < 200 && there[i + 1]));
		}
		for (size_t i = 0; i + 1 < vec.count; i++)
			assert_true(vec.items[i].end < vec.items[i + 1].start);
	}
	region_vec_free(&vec);
}

static void an_array_grows_as_it_is_filled(void **state)
{
	uint16_t *items = NULL;
	size_t capacity = 0;

	(void)state;
	for (size_t count = 0; count < 1000; count++) {
		if (array_reserve(&items, count, &capacity) == 0)
			items[count] = (uint16_t)count;
		assert_true(count < capacity);
	}
	assert_true(capacity < 2 * 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(items[i], i);
	free(items);
}

static void the_clock_goes_forward_in_both_units(void **state)
{
	uint64_t ns = clock_now_ns();
	uint64_t us = now_us();

	(void)state;
	assert_true(ns > 0 && ns / 1000 <= us);
	assert_true(us * 1000 <= clock_now_ns());
	assert_true(clock_ns(CLOCK_BOOTTIME) >= ns); /* it counts the time asleep, too */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_beside_one_another_have_one_unit),
		cmocka_unit_test(times_are_printed_for_people),
		cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_region_vec_changes),
		cmocka_unit_test(sizes_take_units_of_1024),
		cmocka_unit_test(sizes_that_are_not_sizes_are_refused),
		cmocka_unit_test(sizes_are_printed_for_people),
		cmocka_unit_test(numbers_keep_to_their_bounds),
		cmocka_unit_test(addresses_are_hexadecimal),
		cmocka_unit_test(rounding_goes_to_powers_of_two),
		cmocka_unit_test(ranges_are_parsed_as_in_proc_maps),
		cmocka_unit_test(inclusive_bounds_become_half_open),
		cmocka_unit_test(the_common_part_of_distant_regions_is_empty),
		cmocka_unit_test(appending_joins_what_touches_the_last),
		cmocka_unit_test(normalizing_joins_neighbours_and_overlaps),
		cmocka_unit_test(overlaps_are_found),
		cmocka_unit_test(vectors_intersect_in_order),
		cmocka_unit_test(vectors_agree_with_a_bitmap),
		cmocka_unit_test(text_for_a_terminal_steers_nothing),
		cmocka_unit_test(owners_let_go_what_was_taken),
		cmocka_unit_test(the_clock_goes_forward_in_both_units),
		cmocka_unit_test(an_array_grows_as_it_is_filled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
