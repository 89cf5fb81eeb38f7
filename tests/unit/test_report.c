/* SPDX-License-Identifier: MIT */
/* Records out and in, errors, flags. */
/* Records out, errors, flags, progress. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "capture.h"
#include "report/error.h"
#include "report/input.h"
#include "report/parse.h"
#include "report/report.h"
#include "report/sentence.h"

static struct capture printed;

static const struct report_column columns[] = {
	{"start", "START", COLUMN_TEXT},    {"bytes", "SIZE", COLUMN_SIZE}, {"pages", "PAGES", COLUMN_NUMBER},
	{"share", "SHARE", COLUMN_PERCENT}, {"name", "NAME", COLUMN_TEXT},  {NULL, NULL, COLUMN_TEXT},
};

/* Reports these records (ended by NULL) and compares what is printed. */
static void assert_printed(const char *format, const char *chosen, json_t *const *records, const char *wanted)
{
	struct report *report = NULL;
	const char *why = NULL;

	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, format, chosen, columns, "region", &why), 0);
	for (; *records; records++)
		assert_int_equal(report_record(report, *records), 0);
	assert_int_equal(report_close(report), 0);
	assert_string_equal(capture_end(&printed), wanted);
}

static json_t *row(const char *start, json_int_t bytes, json_int_t pages, double share, const char *name)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:f, s:s?}", "type", "region", "start", start, "bytes", bytes, "pages",
			 pages, "share", share, "name", name);
}

static void records_are_lines_with_the_version_first(void **state)
{
	json_t *const records[] = {
		report_region("region", 812, 3312345, 0x7f0000000000, 0x7f0000200000),
		json_pack("{s:i, s:s, s:n}", "regions", 1, "type", "summary", "us"),
		NULL,
	};

	(void)state;
	assert_printed("json", NULL, records,
		       "{\"v\":1,\"type\":\"region\",\"pid\":812,\"starttime\":3312345,\"start\":\"0x7f0000000000\","
		       "\"end\":\"0x7f0000200000\",\"bytes\":2097152}\n"
		       "{\"v\":1,\"type\":\"summary\",\"regions\":1,\"us\":null}\n");
}

static void without_a_terminal_the_format_is_json(void **state)
{
	json_t *const records[] = {json_pack("{s:s}", "type", "summary"), NULL};

	(void)state;
	assert_printed(NULL, NULL, records, "{\"v\":1,\"type\":\"summary\"}\n");
}

static void records_are_flushed_one_by_one(void **state)
{
	struct report *report = NULL;
	const char *why = NULL;
	char text[100] = "";

	(void)state;
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, "json", NULL, columns, "region", &why), 0);
	assert_int_equal(report_record(report, json_pack("{s:s}", "type", "x")), 0);
	assert_true(pread(printed.file, text, sizeof(text) - 1, 0) > 0);
	assert_int_equal(report_close(report), 0);
	capture_end(&printed);
	assert_string_equal(text, "{\"v\":1,\"type\":\"x\"}\n");
}

static void tables_align_and_come_before_other_records(void **state)
{
	json_t *const records[] = {
		row("0x7f0000000000", 2097152, 512, 100, "[heap]"),
		json_pack("{s:s, s:s, s:s}", "type", "error", "errno", "EBUSY", "reason", "it is busy"),
		row("0x1000", 4096, 1, 0.25, NULL),
		json_pack("{s:s, s:i, s:i, s:b}", "type", "summary", "regions", 2, "moved_bytes", 2101248, "done", 1),
		NULL,
	};

	(void)state;
	assert_printed("table", NULL, records,
		       "START              SIZE  PAGES   SHARE  NAME\n"
		       "0x7f0000000000  2.0 MiB    512  100.0%  [heap]\n"
		       "0x1000          4.0 KiB      1    0.2%  -\n"
		       "error: errno=EBUSY reason=\"it is busy\"\n"
		       "summary: regions=2 moved_bytes=2.0 MiB done=yes\n");
}

static void chosen_columns_may_be_any_key(void **state)
{
	json_t *const records[] = {
		json_pack("{s:s, s:i, s:i, s:[s,s,i]}", "type", "region", "zero_bytes", 8192, "bytes", 4096, "flags",
			  "a", "b", 3),
		NULL,
	};

	(void)state;
	assert_printed("table", "flags,bytes,zero_bytes,none", records,
		       "FLAGS     SIZE  ZERO_BYTES  NONE\n"
		       "a,b,3  4.0 KiB     8.0 KiB  -\n");
}

static void tables_show_nothing_that_steers_the_terminal(void **state)
{
	json_t *const records[] = {
		json_pack("{s:s, s:s}", "type", "region", "name", "\033[2J/tmp/\nx"),
		json_pack("{s:s, s:s}", "type", "note\a", "a\033", "\r!"),
		NULL,
	};

	(void)state;
	assert_printed("table", "name", records, "NAME\n?[2J/tmp/?x\nnote?: a?=?!\n");
}

static void long_tables_are_not_kept_in_memory(void **state)
{
	struct report *report = NULL;
	const char *why = NULL, *line = printed.text;
	int lines = 0;

	(void)state;
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, "table", "pages", columns, "region", &why), 0);
	assert_int_equal(report_record(report, json_pack("{s:s}", "type", "early")), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(report_record(report, json_pack("{s:s, s:i}", "type", "region", "pages", i)), 0);
	assert_true(lseek(printed.file, 0, SEEK_END) > 5000);
	assert_int_equal(report_record(report, json_pack("{s:s, s:i}", "type", "region", "pages", 1000)), 0);
	assert_int_equal(report_close(report), 0);
	capture_end(&printed);
	for (; (line = strchr(line, '\n')); line++)
		lines++;
	assert_int_equal(lines, 1 + 1000 + 1 + 1);
	assert_non_null(strstr(printed.text, "PAGES\n    0\n"));
	assert_non_null(strstr(printed.text, "  999\nearly:\n 1000\n"));
}

static void wrong_formats_and_columns_are_refused(void **state)
{
	static const char *const lists[] = {"", ",", "start,", ",start", "start,,bytes"};
	struct report *report = NULL;
	const char *why = NULL;

	(void)state;
	assert_int_equal(report_open(&report, "xml", NULL, columns, "region", &why), -EINVAL);
	assert_string_equal(why, "unknown format: give json or table");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		why = NULL;
		assert_int_equal(report_open(&report, "table", lists[i], columns, "region", &why), -EINVAL);
		assert_non_null(why);
	}
	assert_null(report);
	assert_int_equal(report_close(NULL), 0);
}

/* What report_record and report_close return when standard output is this descriptor. */
static void assert_unwritable(int fd, const char *format, int first, int last)
{
	int saved = dup(STDOUT_FILENO), record_status, close_status;
	struct report *report = NULL;
	const char *why = NULL;

	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	assert_int_equal(report_open(&report, format, NULL, columns, "region", &why), 0);
	record_status = report_record(report, row("0x1000", 4096, 1, 1, "x"));
	close_status = report_close(report);
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	close(saved);
	assert_int_equal(record_status, first);
	assert_int_equal(close_status, last);
}

static void output_that_cannot_be_written_is_told(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), pipe_ends[2];

	(void)state;
	assert_int_equal(pipe(pipe_ends), 0);
	close(pipe_ends[0]);
	assert_unwritable(full, "json", -EIO, -EIO);
	assert_unwritable(full, "table", 0, -EIO);
	assert_unwritable(pipe_ends[1], "json", -EPIPE, -EPIPE);
	assert_unwritable(pipe_ends[1], "table", 0, -EPIPE);
	close(full);
	close(pipe_ends[1]);
}

static void a_record_that_could_not_be_made_is_out_of_memory(void **state)
{
	struct report *report = NULL;
	const char *why = NULL;

	(void)state;
	assert_int_equal(report_open(&report, "json", NULL, columns, "region", &why), 0);
	assert_int_equal(report_record(report, NULL), -ENOMEM);
	assert_int_equal(report_close(report), 0);
}

static void flags_are_names(void **state)
{
	static const char *const names[] = {"zero", NULL, "two"};
	json_t *flags = report_flags(1ULL << 63 | 0x17, names, ARRAY_SIZE(names));
	char *text = json_dumps(flags, JSON_COMPACT);

	(void)state;
	assert_string_equal(text, "[\"zero\",\"bit1\",\"two\",\"bit4\",\"bit63\"]");
	free(text);
	json_decref(flags);
}

static void errors_are_one_line(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(error_set(NULL, -EIO, NULL, NULL, "x"), -EIO);
	assert_int_equal(error_set(&error, -EPERM, NULL, "run it as root", "attach to process %d\n", 812), -EPERM);
	capture_begin(&printed, STDERR_FILENO);
	error_print("swapctl", &error);
	error_set(&error, -EINVAL, "it is \033odd", NULL, "look");
	error_print("swapctl", &error);
	assert_string_equal(capture_end(&printed),
			    "swapctl: attach to process 812?: Operation not permitted (run it as root)\n"
			    "swapctl: look: it is ?odd\n");
}

static void tables_say_what_a_code_means(void **state)
{
	static const struct error_cause causes[] = {{-EAGAIN, .why = "it is busy", .hint = "try again"},
						    {-EALREADY, .why = "it is held", .as = -EBUSY},
						    {0}};
	struct error error;

	(void)state;
	capture_begin(&printed, STDERR_FILENO);
	assert_int_equal(error_explain(&error, causes, -EAGAIN, "stop %d", 812), -EAGAIN);
	error_print("swapctl", &error);
	assert_int_equal(error_explain(&error, causes, -EALREADY, "stop %d", 812), -EBUSY);
	error_print("swapctl", &error);
	assert_int_equal(error.code, -EBUSY);
	assert_int_equal(error_explain(&error, causes, -EPERM, "stop 100%%"), -EPERM);
	error_print("swapctl", &error);
	assert_string_equal(capture_end(&printed), "swapctl: cannot stop 812: it is busy (try again)\n"
						   "swapctl: cannot stop 812: it is held\n"
						   "swapctl: cannot stop 100%: Operation not permitted\n");
}

static void errors_are_records(void **state)
{
	struct error error;
	json_t *record;
	char *text;

	(void)state;
	error_set(&error, -EBUSY, NULL, NULL, "move");
	record = error_record("UFFDIO_MOVE", &error);
	text = json_dumps(record, JSON_COMPACT);
	assert_string_equal(text, "{\"type\":\"error\",\"op\":\"UFFDIO_MOVE\",\"errno\":\"EBUSY\","
				  "\"reason\":\"Device or resource busy\"}");
	free(text);
	json_decref(record);
	error_set(&error, -523, "not \xff text", "try", "open");
	record = error_record("open", &error);
	text = json_dumps(record, JSON_COMPACT);
	assert_string_equal(text, "{\"type\":\"error\",\"op\":\"open\",\"errno\":\"errno 523\","
				  "\"reason\":\"not ? text\",\"hint\":\"try\"}");
	free(text);
	json_decref(record);
}

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
	assert_int_equal(input.regions.count, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(input.regions.items[i].start, wanted[i].start);
		assert_int_equal(input.regions.items[i].end, wanted[i].end);
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
	assert_int_equal(input.pid, 812);
	assert_int_equal(input.starttime, 99);
	assert_int_equal(input.regions.count, 3);
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
	{GOOD "{\"start\":\"0x3000\",\"end\":\"0x4000\",\"pid\":9}", "line 2",
	 "of process 9, those before are of process 8"},
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
		assert_int_equal(input.regions.count, 0);
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
	assert_int_equal(input.regions.count, 1);
}

static void progress_is_silent_without_a_terminal(void **state)
{
	struct progress progress;

	(void)state;
	capture_begin(&printed, STDERR_FILENO);
	progress_begin(&progress, "moving", false);
	progress.started_us = 0;
	progress_update(&progress, 1, 2);
	progress_end(&progress);
	assert_string_equal(capture_end(&printed), "");
}

static void progress_is_drawn_and_wiped(void **state)
{
	struct progress progress = {.what = "moving", .enabled = true};

	(void)state;
	capture_begin(&printed, STDERR_FILENO);
	progress_update(&progress, MiB, 4 * MiB);
	progress_update(&progress, 2 * MiB, 4 * MiB);
	progress_end(&progress);
	assert_string_equal(capture_end(&printed), "\r\033[Kmoving: 1.0 MiB of 4.0 MiB (25%)\r\033[K");
}

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

static void a_number_of_a_record_is_set(void **state)
{
	json_t *record = json_object();

	(void)state;
	assert_int_equal(report_number(record, "bytes", UINT64_C(1) << 52), 0);
	assert_true(json_integer_value(json_object_get(record, "bytes")) == INT64_C(1) << 52);
	assert_int_equal(report_number(NULL, "bytes", 1), -1);
	json_decref(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_read_as_it_is_or_not_at_all),
		cmocka_unit_test(what_is_no_json_is_not_taken_for_a_lack_of_memory),
		cmocka_unit_test(values_of_a_stream_are_read_one_by_one),
		cmocka_unit_test(a_text_is_whole_or_there_is_none),
		cmocka_unit_test(records_are_lines_with_the_version_first),
		cmocka_unit_test(without_a_terminal_the_format_is_json),
		cmocka_unit_test(records_are_flushed_one_by_one),
		cmocka_unit_test(tables_align_and_come_before_other_records),
		cmocka_unit_test(chosen_columns_may_be_any_key),
		cmocka_unit_test(tables_show_nothing_that_steers_the_terminal),
		cmocka_unit_test(long_tables_are_not_kept_in_memory),
		cmocka_unit_test(wrong_formats_and_columns_are_refused),
		cmocka_unit_test(output_that_cannot_be_written_is_told),
		cmocka_unit_test(a_record_that_could_not_be_made_is_out_of_memory),
		cmocka_unit_test(flags_are_names),
		cmocka_unit_test(errors_are_one_line),
		cmocka_unit_test(errors_are_records),
		cmocka_unit_test(regions_come_as_lines_arrays_or_one_object),
		cmocka_unit_test(other_records_and_unknown_keys_are_skipped),
		cmocka_unit_test(the_process_is_remembered),
		cmocka_unit_test(bad_records_are_refused_by_line),
		cmocka_unit_test(bytes_that_are_not_text_are_refused),
		cmocka_unit_test(a_record_without_end_is_refused),
		cmocka_unit_test(files_that_cannot_be_read_are_told),
		cmocka_unit_test(standard_input_is_a_dash),
		cmocka_unit_test(progress_is_silent_without_a_terminal),
		cmocka_unit_test(progress_is_drawn_and_wiped),
		cmocka_unit_test(a_number_of_a_record_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
