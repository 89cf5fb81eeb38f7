/* SPDX-License-Identifier: MIT */
/* Which pages were asked for, as a client is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/size.h"
#include "pager/pager.h"
#include "report/input.h"
#include "swapin/refaults.h"

#define BASE UINT64_C(0x7f0000000000)

static struct pager pager;

static int begin(void **state)
{
	(void)state;
	memset(&pager, 0, sizeof(pager));
	pthread_mutex_init(&pager.lock, NULL);
	pager.cluster_pages = 16;
	return refaults_new(&pager.faults.refaults);
}

static int end(void **state)
{
	(void)state;
	free(pager.faults.refaults);
	return 0;
}

/* How many pages are told of; the last one's address and how many are wanted from there on. */
static size_t told(json_t *record, uint64_t *address, uint64_t *wanted)
{
	const json_t *touched = json_object_get(record, "touched");
	size_t count = json_array_size(touched);

	assert_int_equal(count % 3, 0);
	if (count) {
		*address = (uint64_t)json_integer_value(json_array_get(touched, count - 3)) * page_size();
		*wanted = (uint64_t)json_integer_value(json_array_get(touched, count - 2));
	}
	json_decref(record);
	return count / 3;
}

static void test_each_page_is_told_once(void **state)
{
	uint64_t address = 0;
	uint64_t wanted = 0;

	(void)state;
	refaults_note(&pager, BASE + 7 * page_size() + 100, 16, false);
	refaults_note(&pager, BASE + 7 * page_size(), 1, false);
	assert_int_equal(told(refaults_record(&pager, false), &address, &wanted), 1);
	assert_true(address == BASE + 7 * page_size());
	assert_int_equal(wanted, 1); /* what came along was not asked for */
	assert_int_equal(told(refaults_record(&pager, false), &address, &wanted), 0);
}

/* A heap is often in mappings that lie a power of two apart. */
static void test_none_is_lost_for_where_it_lies(void **state)
{
	json_t *record;
	uint64_t address;
	uint64_t wanted;

	(void)state;
	for (uint64_t mapping = 0; mapping < 8; mapping++)
		for (uint64_t i = 0; i < 1000; i++)
			refaults_note(&pager, BASE + mapping * 128 * MiB + i * page_size(), 1, false);
	record = refaults_record(&pager, false);
	assert_int_equal(input_number(record, "lost_pages"), 0);
	assert_int_equal(input_number(record, "pages"), 8000);
	assert_int_equal(told(record, &address, &wanted), 8000);
}

/* A walk wants all since its fault before. */
static void test_a_walk_wants_what_lies_between(void **state)
{
	uint64_t address = 0;
	uint64_t wanted = 0;

	(void)state;
	refaults_note(&pager, BASE, 16, false);
	refaults_note(&pager, BASE + 32 * page_size(), 16, true);
	assert_int_equal(told(refaults_record(&pager, false), &address, &wanted), 1);
	assert_true(address == BASE);
	assert_int_equal(wanted, 48);
}

static void test_how_the_client_ages_is_remembered(void **state)
{
	(void)state;
	assert_null(refaults_ageing(&pager));
	json_decref(refaults_record(&pager, true));
	assert_string_equal(refaults_ageing(&pager), "idle");
	json_decref(refaults_record(&pager, false));
	assert_string_equal(refaults_ageing(&pager), "refaults");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_page_is_told_once, begin, end),
		cmocka_unit_test_setup_teardown(test_none_is_lost_for_where_it_lies, begin, end),
		cmocka_unit_test_setup_teardown(test_a_walk_wants_what_lies_between, begin, end),
		cmocka_unit_test_setup_teardown(test_how_the_client_ages_is_remembered, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
