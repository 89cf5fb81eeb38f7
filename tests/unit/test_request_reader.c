/* SPDX-License-Identifier: MIT */
/* Requests of clients are read as their bytes come, in memory that is bounded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/reader.h"

static struct request_reader reader;
static struct error error;

static int begin(void **state)
{
	(void)state;
	reader_free(&reader);
	error = (struct error){0};
	return 0;
}

static int feed(const char *text)
{
	return reader_feed(&reader, text, strlen(text), &error);
}

static void test_bytes_one_by_one_make_a_request(void **state)
{
	static const char text[] =
		" {\"verb\" : \"out\",\"bytes\":17, \"regions\" :[ [8192,12288] , [\"0x1000\",\"0x2000\"]],"
		"\"note\":\"\\\"regions\\\":[[1\"} trailing";
	size_t end = strchr(text, '}') - text;
	json_t *object;

	(void)state;
	for (size_t i = 0; i < end; i++)
		assert_int_equal(reader_feed(&reader, text + i, 1, &error), 0);
	assert_int_equal(reader_feed(&reader, text + end, 1, &error), 1);
	assert_int_equal(reader_finish(&reader, &object, &error), 0);
	assert_string_equal(json_string_value(json_object_get(object, "verb")), "out");
	assert_int_equal(json_integer_value(json_object_get(object, "bytes")), 17);
	assert_string_equal(json_string_value(json_object_get(object, "note")), "\"regions\":[[1");
	assert_int_equal(reader.regions.count, 2);
	assert_int_equal(reader.regions.items[0].start, 0x1000);
	assert_int_equal(reader.regions.items[1].end, 12288);
	json_decref(object);
}

static const char long_pair[] = "{\"regions\":[[4096,8192" /* and blanks, more than a pair may have */
				"                                        "
				"                                        ]]}";

static void test_what_is_no_request_is_refused(void **state)
{
	static const char *const texts[] = {
		"[]",
		"17",
		"\"verb\"",
		"{\"verb\":}",
		"{\"regions\":17}",
		"{\"regions\":[1]}",
		"{\"regions\":[[1]]}",
		"{\"regions\":[[1,2]]}",
		"{\"regions\":[[4096,0]]}",
		"{\"regions\":[[4096,8192][8192,12288]]}",
		"{\"regions\":[,[4096,8192]]}",
		"{\"regions\":[[[4096,8192]]]}",
		"{\"regions\":[[\"x\",\"y\"]]}",
		"{\"regions\":[[4096,8192],[4096,8192]]}",
		"{\"\\u0072egions\":[[4096,8192]]}",
		long_pair,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		json_t *object = NULL;
		int rc = feed(texts[i]);

		if (rc == 1)
			rc = reader_finish(&reader, &object, &error);
		if (rc != -EINVAL)
			fail_msg("%s: %d", texts[i], rc);
		json_decref(object);
		reader_free(&reader);
	}
}

static void test_a_request_without_end_is_refused(void **state)
{
	int rc = feed("{\"verb\":\"");

	(void)state;
	for (int i = 0; rc == 0 && i < 10000; i++)
		rc = feed("x");
	assert_int_equal(rc, -E2BIG);
	reader_free(&reader);
	for (rc = 0; rc == 0;)
		rc = feed("{\"a\":");
	assert_int_equal(rc, -E2BIG);
}

/* Gives a request regions until it is refused. Returns how many it took. */
static size_t fill(struct request_reader *r)
{
	char pair[64];
	size_t count = 0;

	assert_int_equal(reader_feed(r, "{\"regions\":[", 12, &error), 0);
	for (;; count++) {
		int n = snprintf(pair, sizeof(pair), "%s[%zu,%zu]", count ? "," : "", count * 8192,
				 count * 8192 + 4096);
		int rc = reader_feed(r, pair, (size_t)n, &error);

		if (rc < 0) {
			assert_int_equal(rc, -ENOMEM);
			return count;
		}
	}
}

static void test_all_requests_together_hold_so_many_regions(void **state)
{
	static struct request_reader other;

	(void)state;
	assert_int_equal(fill(&reader), REQUEST_REGIONS);
	assert_int_equal(fill(&other), 0);
	reader_free(&other);
	reader_free(&reader);
	assert_int_equal(feed("{\"regions\":[[4096,8192]]}"), 1);
}

static size_t allocations_left;

static void *allocate(size_t bytes)
{
	return allocations_left && allocations_left-- ? malloc(bytes) : NULL;
}

static void test_a_request_without_memory_for_it_says_so(void **state)
{
	json_t *object = NULL;
	size_t failures = 0;
	int rc;

	(void)state;
	json_set_alloc_funcs(allocate, free);
	do {
		begin(state);
		allocations_left = failures;
		rc = feed("{\"verb\":\"out\",\"bytes\":17,\"regions\":[[4096,8192]]}");
		if (rc == 1)
			rc = reader_finish(&reader, &object, &error);
		assert_true(rc == 0 || rc == -ENOMEM);
	} while (rc < 0 && ++failures < 100);
	json_set_alloc_funcs(malloc, free);
	assert_int_equal(rc, 0);
	assert_true(failures > 5);
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bytes_one_by_one_make_a_request, begin),
		cmocka_unit_test_setup(test_what_is_no_request_is_refused, begin),
		cmocka_unit_test_setup(test_a_request_without_end_is_refused, begin),
		cmocka_unit_test_setup(test_a_request_without_memory_for_it_says_so, begin),
		cmocka_unit_test_setup(test_all_requests_together_hold_so_many_regions, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
