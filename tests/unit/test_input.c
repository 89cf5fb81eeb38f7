/* SPDX-License-Identifier: MIT */
/* Regions from records. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "report/input.h"

/* Reads regions out of this text. */
static int read_text(struct region_input *input, const char *text, size_t length, struct error *error)
{
	_cleanup_close_ int fd = memfd_create("records", MFD_CLOEXEC);
	char path[64];

	assert_int_equal(write(fd, text, length), length);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return region_input_read(input, path, 4096, error);
}

static void assert_read(const char *text, const struct region *wanted, size_t count)
{
	_cleanup_input_ struct region_input input;
	struct error error = {0};

	assert_int_equal(read_text(&input, text, strlen(text), &error), 0);
	assert_int_equal(input.count, count ? 1 : 0);
	if (!count)
		return;
	assert_int_equal(input.groups[0].regions.count, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(input.groups[0].regions.items[i].start, wanted[i].start);
		assert_int_equal(input.groups[0].regions.items[i].end, wanted[i].end);
	}
}

static void regions_come_as_lines_arrays_or_one_object(void **state)
{
	static const struct region wanted[] = {{0x3000, 0x4000}, {0x1000, 0x2000}};

	(void)state;
	assert_read("{\"start\":\"0x3000\",\"end\":\"0x4000\"}\n{\"start\":4096,\"end\":\"2000\"}\n", wanted, 2);
	assert_read("{\"start\":\"0x3000\",\"end\":\"0x4000\"}{\"start\":4096,\"end\":8192}", wanted, 2);
	assert_read(" [ {\"start\":\"0x3000\",\"end\":\"0x4000\"} ,\r\n {\"start\":4096,\"end\":8192}\n]\n", wanted, 2);
	assert_read("{\n  \"start\": \"0x3000\",\n  \"end\": \"0x4000\"\n}\n", wanted, 1);
	assert_read("[]", NULL, 0);
	assert_read("[][]\n", NULL, 0);
	assert_read("", NULL, 0);
	assert_read("\n \n", NULL, 0);
}

static void other_records_and_unknown_keys_are_skipped(void **state)
{
	static const struct region wanted[] = {{0x3000, 0x4000}};

	(void)state;
	assert_read("{\"v\":1,\"type\":\"error\",\"start\":\"0x1000\",\"end\":\"0x2000\"}\n"
		    "{\"v\":1,\"type\":\"novelty\",\"start\":\"0x3000\",\"end\":\"0x4000\",\"bytes\":4096,"
		    "\"name\":\"}]\\\"{\",\"more\":{\"x\":[{}]}}\n"
		    "{\"v\":1,\"type\":\"session\",\"start\":\"0x3000\"}\n"
		    "{\"v\":1,\"type\":\"summary\",\"start\":1,\"end\":2}\n",
		    wanted, 1);
}

static void the_process_is_remembered(void **state)
{
	static const char text[] = "{\"start\":\"0x3000\",\"end\":\"0x4000\"}\n"
				   "{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":812,\"starttime\":99}\n"
				   "{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":812,\"starttime\":null}\n";
	_cleanup_input_ struct region_input input;

	(void)state;
	assert_int_equal(read_text(&input, text, strlen(text), NULL), 0);
	assert_int_equal(input.count, 1);
	assert_int_equal(input.groups[0].pid, 812);
	assert_int_equal(input.groups[0].starttime, 99);
	assert_int_equal(input.groups[0].regions.count, 3);
}

static void regions_of_several_processes_are_kept_apart(void **state)
{
	static const char text[] = "{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":812,\"starttime\":99}\n"
				   "{\"start\":\"0x5000\",\"end\":\"0x6000\",\"pid\":7,\"starttime\":5}\n"
				   "{\"start\":\"0x6000\",\"end\":\"0x7000\"}\n"
				   "{\"start\":\"0x1000\",\"end\":\"0x2000\",\"pid\":812}\n";
	_cleanup_input_ struct region_input input;

	(void)state;
	assert_int_equal(read_text(&input, text, strlen(text), NULL), 0);
	assert_int_equal(input.count, 2);
	assert_int_equal(input.groups[0].pid, 7);
	assert_int_equal(input.groups[0].regions.count, 2);
	assert_int_equal(input.groups[0].regions.items[1].start, 0x6000);
	assert_int_equal(input.groups[1].pid, 812);
	assert_int_equal(input.groups[1].starttime, 99);
	assert_int_equal(input.groups[1].regions.count, 2);
	assert_int_equal(input.groups[1].regions.items[1].start, 0x1000);
}

static void streams_without_their_summary_are_cut(void **state)
{
	static const struct {
		const char *text;
		bool cut;
	} cases[] = {
		{"", true},
		{"[]", false},
		{"{\"start\":\"0x3000\",\"end\":\"0x4000\"}", false},
		{"{\"v\":1,\"type\":\"region\",\"start\":\"0x3000\",\"end\":\"0x4000\"}", true},
		{"{\"v\":1,\"type\":\"region\"}{\"v\":1,\"type\":\"summary\"}", false},
		{"[{\"v\":1,\"type\":\"summary\"},{\"v\":1,\"type\":\"region\"}]", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_input_ struct region_input input;

		assert_int_equal(read_text(&input, cases[i].text, strlen(cases[i].text), NULL), 0);
		assert_int_equal(input.cut, cases[i].cut);
	}
}

#define GOOD "{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":8,\"starttime\":9}\n"

static const struct bad_input {
	const char *text;
	const char *tried; /* how it ends: the line */
	const char *why;   /* a part of it */
} bad_inputs[] = {
	{GOOD "{\"start\":\"0x3000\",\"end\":}\n", "line 2", "unexpected token near '}'"},
	{GOOD "\n{\n\"start\":\"0x3000\",\n\"end\":nan}\n", "line 5", "token near"},
	{GOOD "{\"start\":1, \"start\":2}", "line 2", "duplicate"},
	{GOOD "{\"start\":\n\"0x3000\"", "line 2", "the record is cut short"},
	{"[" GOOD, "line 2", "the array is cut short"},
	{"[" GOOD ",", "line 2", "the array is cut short"},
	{"[" GOOD ",]", "line 2", "expected a record"},
	{"[" GOOD GOOD "]", "line 2", "expected ',' or ']'"},
	{"[[" GOOD "]]", "line 1", "expected a record"},
	{GOOD "12\n", "line 2", "expected a record"},
	{GOOD "]\n", "line 2", "expected a record"},
	{"\"0x1000\"", "line 1", "expected a record"},
	{GOOD "{\"v\":2}\n", "line 2", "\"v\" is not 1"},
	{"{\"v\":\"1\"}\n", "line 1", "\"v\" is not 1"},
	{"{\"start\":\"0x3000\",\"end\":\"0x3000\"}", "line 1", "\"end\" is not above \"start\""},
	{"{\"start\":\"0x4000\",\"end\":\"0x3000\"}", "line 1", "\"end\" is not above \"start\""},
	{"{\"start\":\"0x3001\",\"end\":\"0x4000\"}", "line 1", "0x3001-0x4000 is not aligned to 4096 bytes"},
	{"{\"start\":\"0x3000\",\"end\":\"0x4010\"}", "line 1", "not aligned"},
	{"{\"start\":-4096,\"end\":4096}", "line 1", "\"start\" is not an address"},
	{"{\"start\":4096.0,\"end\":8192}", "line 1", "\"start\" is not an address"},
	{"{\"start\":0,\"end\":true}", "line 1", "\"end\" is not an address"},
	{"{\"start\":0,\"end\":\"0x8000000000001000\"}", "line 1", "\"end\" is not an address"},
	{"{\"start\":0,\"end\":9223372036854775808}", "line 1", "too big integer"},
	{"{\"start\":\"0x3000\",\"end\":\"0x4000\",\"bytes\":8192}", "line 1", "\"bytes\" contradicts"},
	{"{\"start\":\"0x3000\",\"end\":\"0x4000\",\"bytes\":\"4096\"}", "line 1", "\"bytes\" contradicts"},
	{"{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":0}", "line 1", "\"pid\" is not"},
	{"{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":\"8\"}", "line 1", "\"pid\" is not"},
	{"{\"start\":\"0x3000\",\"end\":\"0x4000\",\"starttime\":-1}", "line 1", "\"starttime\" is not"},
	{GOOD "{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":8,\"starttime\":10}", "line 2", "another process"},
};

static void bad_records_are_refused_by_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_inputs); i++) {
		const struct bad_input *bad = &bad_inputs[i];
		_cleanup_input_ struct region_input input;
		struct error error = {0};

		assert_int_equal(read_text(&input, bad->text, strlen(bad->text), &error), -EINVAL);
		assert_int_equal(error.code, -EINVAL);
		if (!strstr(error.why, bad->why))
			fail_msg("\"%s\" was refused with \"%s\"", bad->text, error.why);
		assert_string_equal(strstr(error.tried, "line "), bad->tried);
		assert_int_equal(input.count, 0);
	}
}

static void bytes_that_are_not_text_are_refused(void **state)
{
	static const char zeros[] = GOOD "\0\0";
	struct region_input input;
	struct error error = {0};

	(void)state;
	assert_int_equal(read_text(&input, zeros, sizeof(zeros), &error), -EINVAL);
	assert_int_equal(region_input_read(&input, "/dev/zero", 4096, &error), -EINVAL);
}

static void a_record_without_end_is_refused(void **state)
{
	size_t length = 17 * MiB;
	_cleanup_free_ char *text = malloc(length);
	struct region_input input;
	struct error error = {0};

	(void)state;
	memset(text, '{', length);
	assert_int_equal(read_text(&input, text, length, &error), -EINVAL);
	assert_non_null(strstr(error.why, "larger than 16 MiB"));
	memset(text, '[', length);
	assert_int_equal(read_text(&input, text, length, &error), -EINVAL);
}

static void files_that_cannot_be_read_are_told(void **state)
{
	struct region_input input;
	struct error error = {0};

	(void)state;
	assert_int_equal(region_input_read(&input, "/nonexistent/records", 4096, &error), -ENOENT);
	assert_string_equal(error.tried, "read regions from /nonexistent/records");
	assert_int_equal(region_input_read(&input, "/", 4096, &error), -EISDIR);
	assert_string_equal(error.why, "Is a directory");
}

static void standard_input_is_a_dash(void **state)
{
	_cleanup_close_ int fd = memfd_create("records", MFD_CLOEXEC);
	int saved = dup(STDIN_FILENO);
	_cleanup_input_ struct region_input input;

	(void)state;
	assert_int_equal(write(fd, GOOD, strlen(GOOD)), strlen(GOOD));
	lseek(fd, 0, SEEK_SET);
	dup2(fd, STDIN_FILENO);
	assert_int_equal(region_input_read(&input, "-", 4096, NULL), 0);
	dup2(saved, STDIN_FILENO);
	close(saved);
	assert_int_equal(input.groups[0].regions.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_come_as_lines_arrays_or_one_object),
		cmocka_unit_test(other_records_and_unknown_keys_are_skipped),
		cmocka_unit_test(the_process_is_remembered),
		cmocka_unit_test(regions_of_several_processes_are_kept_apart),
		cmocka_unit_test(streams_without_their_summary_are_cut),
		cmocka_unit_test(bad_records_are_refused_by_line),
		cmocka_unit_test(bytes_that_are_not_text_are_refused),
		cmocka_unit_test(a_record_without_end_is_refused),
		cmocka_unit_test(files_that_cannot_be_read_are_told),
		cmocka_unit_test(standard_input_is_a_dash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
