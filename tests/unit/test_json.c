/* SPDX-License-Identifier: MIT */
/* JSON as text, read and written, where memory may run out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "report/parse.h"
#include "report/report.h"

static int failing; /* which allocation of jansson's; 0: none */

static void *allocate(size_t bytes)
{
	return failing && --failing == 0 ? NULL : malloc(bytes);
}

static void a_text_is_whole_or_there_is_none(void **state)
{
	static const char whole[] = "{\"verb\":\"out\",\"dry_run\":false,\"a_key_that_is_long\":0}";
	json_t *json = json_pack("{s:s,s:b,s:i}", "verb", "out", "dry_run", 0, "a_key_that_is_long", 0);
	int refused = 0;

	(void)state;
	assert_null(report_text(NULL, JSON_COMPACT));
	json_set_alloc_funcs(allocate, free);
	for (int i = 1; i < 20; i++) {
		char *text;

		failing = i;
		text = report_text(json, JSON_COMPACT);
		if (text)
			assert_string_equal(text, whole);
		refused += !text;
		free(text);
	}
	failing = 0;
	json_set_alloc_funcs(malloc, free);
	assert_in_range(refused, 0, 18);
	json_decref(json);
}

static bool lasting; /* all allocations after it, too */

static void *allocate_no_more(size_t bytes)
{
	void *at = allocate(bytes);

	failing += !at && lasting;
	return at;
}

/* Returns whether it could be read; it is as it was written, then. */
static bool reads_all(const char *text, int nth)
{
	json_error_t failed = {.text = "x"};
	json_t *json;
	char *again;

	failing = nth;
	json = parse_text(text, strlen(text), 0, &failed);
	failing = 0;
	if (!json) {
		assert_true(parse_ran_out(&failed));
		return false;
	}
	again = report_text(json, JSON_COMPACT);
	assert_string_equal(again, text);
	free(again);
	json_decref(json);
	return true;
}

static void a_text_is_read_as_it_is_or_not_at_all(void **state)
{
	static const char most[] = "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
	char text[512];

	(void)state;
	json_set_alloc_funcs(allocate_no_more, free);
	for (int kind = 0; kind < 2; kind++)
		for (int length = 1; length < (int)strlen(most); length++) {
			int nth = 1;

			lasting = kind;
			snprintf(text, sizeof(text), "{%.*s\":1234567890123456,\"b\":[%.*s\",[],{}]}", length, most,
				 length, most);
			while (!reads_all(text, nth))
				nth++;
			assert_true(nth > 10);
		}
	json_set_alloc_funcs(malloc, free);
}

static void what_is_no_json_is_not_taken_for_a_lack_of_memory(void **state)
{
	static const char *const wrong[] = {"", "{", "{\"a\":1,}", "[1]x", "{1}", "[\"\\x\"]", "[\xff]"};
	json_error_t failed;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_null(parse_text(wrong[i], strlen(wrong[i]), 0, &failed));
		assert_false(parse_ran_out(&failed));
	}
}

/* Each value of a stream, and nothing after it, is read. */
static void values_of_a_stream_are_read_one_by_one(void **state)
{
	static char text[] = "{\"a\":1}\n[2,3]\n";
	FILE *stream = fmemopen(text, strlen(text), "r");
	json_error_t failed;
	json_t *json;

	(void)state;
	json = parse_stream(stream, JSON_DISABLE_EOF_CHECK, &failed);
	assert_true(json_is_object(json));
	assert_int_equal(ftell(stream), 7);
	json_decref(json);
	json = parse_stream(stream, JSON_DISABLE_EOF_CHECK, &failed);
	assert_int_equal(json_array_size(json), 2);
	json_decref(json);
	assert_null(parse_stream(stream, JSON_DISABLE_EOF_CHECK, &failed));
	assert_false(parse_ran_out(&failed));
	fclose(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_whole_or_there_is_none),
		cmocka_unit_test(a_text_is_read_as_it_is_or_not_at_all),
		cmocka_unit_test(what_is_no_json_is_not_taken_for_a_lack_of_memory),
		cmocka_unit_test(values_of_a_stream_are_read_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
