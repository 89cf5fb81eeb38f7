/* SPDX-License-Identifier: MIT */
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
#include "report/report.h"
#include "report/sentence.h"

static struct capture printed;

static const struct report_column columns[] = {
	{"start", "START", COLUMN_TEXT},    {"bytes", "SIZE", COLUMN_SIZE}, {"pages", "PAGES", COLUMN_NUMBER},
	{"share", "SHARE", COLUMN_PERCENT}, {"name", "NAME", COLUMN_TEXT},  {NULL, NULL, COLUMN_TEXT},
};

/* Reports these records (ended by NULL) and compares what is printed. */
static void assert_printed(char *format, char *chosen, json_t *const *records, const char *wanted)
{
	struct report *report = NULL;
	const char *why = NULL;

	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, &(struct report_style){.format = format, .chosen = chosen}, columns,
				     "region", &why),
			 0);
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
	assert_int_equal(report_open(&report, &(struct report_style){.format = "json"}, columns, "region", &why), 0);
	assert_int_equal(report_record(report, json_pack("{s:s}", "type", "x")), 0);
	assert_true(pread(printed.file, text, sizeof(text) - 1, 0) > 0);
	assert_int_equal(report_close(report), 0);
	capture_end(&printed);
	assert_string_equal(text, "{\"v\":1,\"type\":\"x\"}\n");
}

static int add_parts(struct report *report, json_t *before, json_t *after, json_int_t number)
{
	json_t *between = json_pack("{s:I}", "bytes", number);
	int rc = report_parts(report, before, between, after);

	json_decref(between);
	return rc;
}

static size_t text_printed(char *text, size_t size)
{
	ssize_t got = pread(printed.file, text, size - 1, 0);

	assert_true(got >= 0);
	text[got] = '\0';
	return (size_t)got;
}

static void records_of_parts_wait_for_each_other_but_not_for_long(void **state)
{
	json_t *before = json_pack("{s:i, s:s}", "pid", 7, "type", "region"), *after = json_pack("{s:s}", "name", "a");
	json_t *other = json_pack("{s:s}", "name", "b");
	const char *expected = "{\"v\":1,\"type\":\"region\",\"pid\":7,\"bytes\":1,\"name\":\"a\"}\n"
			       "{\"v\":1,\"type\":\"region\",\"pid\":7,\"bytes\":2,\"name\":\"b\"}\n";
	const struct timespec longer = {.tv_nsec = 5000000};
	struct report *report = NULL;
	const char *why = NULL;
	char text[500];

	(void)state;
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, &(struct report_style){.format = "json"}, columns, "region", &why), 0);
	assert_int_equal(add_parts(report, before, after, 1), 0);
	nanosleep(&longer, NULL);
	assert_int_equal(add_parts(report, before, other, 2), 0);
	text_printed(text, sizeof(text));
	/* A test that had to wait for a processor finds the first one written before the second came. */
	assert_int_equal(strncmp(text, expected, strlen(expected) / 2), 0);
	assert_int_equal(add_parts(report, before, other, 3), 0);
	assert_int_equal(report_record(report, json_pack("{s:s}", "type", "summary")), 0);
	text_printed(text, sizeof(text));
	assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
	assert_string_equal(text + strlen(expected), "{\"v\":1,\"type\":\"region\",\"pid\":7,\"bytes\":3,"
						     "\"name\":\"b\"}\n{\"v\":1,\"type\":\"summary\"}\n");
	assert_int_equal(report_close(report), 0);
	capture_end(&printed);
	json_decref(before);
	json_decref(after);
	json_decref(other);
}

static void lines_of_parts_are_never_cut_between_writes(void **state)
{
	json_t *before = json_pack("{s:s}", "type", "region"), *after = json_pack("{s:s}", "name", "a");
	struct report *report = NULL;
	const char *why = NULL;
	size_t now, writes = 0;
	char text[65536] = "";

	(void)state;
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, &(struct report_style){.format = "json"}, columns, "region", &why), 0);
	for (size_t i = 0, last = 0; i < 1000; i++, last = now) {
		assert_int_equal(add_parts(report, before, after, (json_int_t)i), 0);
		now = text_printed(text, sizeof(text));
		assert_true(now - last <=
			    2 * PIPE_BUF); /* two writes at most: of what is full, and of what waits too long */
		assert_true(!now || text[now - 1] == '\n');
		writes += now > last;
	}
	assert_in_range(writes, 1, 999);
	assert_int_equal(report_close(report), 0);
	assert_non_null(strstr(capture_end(&printed), "\"bytes\":999,"));
	json_decref(before);
	json_decref(after);
}

static void parts_make_rows_of_a_table(void **state)
{
	json_t *before = json_pack("{s:s, s:s}", "type", "region", "start", "0x1"), *after = json_object();
	struct report *report = NULL;
	const char *why = NULL;

	(void)state;
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(report_open(&report, &(struct report_style){.format = "table", .chosen = "start,bytes"},
				     columns, "region", &why),
			 0);
	assert_int_equal(add_parts(report, before, after, 1), 0);
	assert_int_equal(add_parts(report, before, after, 2), 0);
	assert_int_equal(report_close(report), 0);
	assert_string_equal(capture_end(&printed), "START  SIZE\n0x1     1 B\n0x1     2 B\n");
	json_decref(before);
	json_decref(after);
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

static void assert_sentence(const char *pattern, json_t *record, int status, const char *wanted)
{
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(sentence_print(record, pattern), status);
	assert_string_equal(capture_end(&printed), wanted);
	json_decref(record);
}

static void summaries_are_sentences(void **state)
{
	static const char pattern[] = "{+moved_bytes} out[ ({compressed_bytes} stored, {moved_bytes:compressed_bytes})]"
				      "[ in {time_us}][; {skipped_bytes} stayed: {skipped}]\n{?pending}wait";

	(void)state;
	assert_sentence(pattern,
			json_pack("{s:i, s:i, s:i, s:i, s:{s:i, s:i}}", "moved_bytes", 8 << 20, "compressed_bytes",
				  1 << 20, "time_us", 1100000, "skipped_bytes", 3 << 20, "skipped", "read-only",
				  1 << 20, "not-resident", 2 << 20),
			0,
			"8.0 MiB out (1.0 MiB stored, 8.0:1) in 1.1 s; 3.0 MiB stayed: 2.0 never touched, 1.0 "
			"read only");
	assert_sentence(pattern, json_pack("{s:i, s:i, s:{}}", "moved_bytes", 0, "compressed_bytes", 0, "skipped"), 0,
			"0 B out");
	assert_sentence(pattern, json_pack("{s:b}", "pending", 1), 0, "wait");
	assert_sentence(pattern, json_pack("{s:b}", "pending", 0), -ENOENT, "");
	assert_sentence("{n|page|pages}, {+m|page|pages}", json_pack("{s:i, s:i}", "n", 1, "m", 0), 0,
			"1 page, 0 pages");
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
	assert_int_equal(report_open(&report, &(struct report_style){.format = "table", .chosen = "pages"}, columns,
				     "region", &why),
			 0);
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

static void wrong_formats_are_refused(void **state)
{
	struct report *report = NULL;
	const char *why = NULL;

	(void)state;
	assert_int_equal(report_open(&report, &(struct report_style){.format = "xml"}, columns, "region", &why),
			 -EINVAL);
	assert_string_equal(why, "unknown format: give json, table, raw or openmetrics");
	assert_null(report);
	assert_int_equal(report_close(NULL), 0);
}

/* What report_record and report_close return when standard output is this descriptor. */
static void assert_unwritable(int fd, char *format, int first, int last)
{
	int saved = dup(STDOUT_FILENO), record_status, close_status;
	struct report *report = NULL;
	const char *why = NULL;

	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	assert_int_equal(report_open(&report, &(struct report_style){.format = format}, columns, "region", &why), 0);
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
	assert_unwritable(full, "json", -ENOSPC, -ENOSPC);
	assert_unwritable(full, "table", 0, -ENOSPC);
	assert_unwritable(pipe_ends[1], "json", -EPIPE, -EPIPE);
	assert_unwritable(pipe_ends[1], "table", 0, -EPIPE);
	close(full);
	close(pipe_ends[1]);
}

/* Reports a row to a file in a new directory, under a limit from `when` on. What is printed elsewhere is in `printed`.
 */
static int report_limited(__rlimit_resource_t what, rlim_t limit, bool at_once)
{
	char directory[] = "/tmp/uvmtools-report.XXXXXX", path[64];
	struct report_style style = {.format = "table", .output = path};
	struct report *report = NULL;
	const char *why = NULL;
	struct rlimit before;
	int rc;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/records", directory);
	assert_int_equal(getrlimit(what, &before), 0);
	capture_begin(&printed, STDOUT_FILENO);
	if (at_once)
		setrlimit(what, &(struct rlimit){limit, before.rlim_max});
	rc = report_open(&report, &style, columns, "region", &why);
	setrlimit(what, &(struct rlimit){limit, before.rlim_max});
	if (rc == 0)
		rc = report_record(report, row("0x1000", 4096, 1, 1, "x"));
	if (rc == 0)
		rc = report_close(report);
	setrlimit(what, &before);
	capture_end(&printed);
	assert_int_equal(rmdir(directory), 0);
	return rc;
}

static void a_file_that_cannot_be_written_leaves_nothing_anywhere(void **state)
{
	int lowest = dup(STDIN_FILENO);

	(void)state;
	close(lowest);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(report_limited(RLIMIT_FSIZE, 1, false), -EFBIG);
	assert_string_equal(printed.text, "");
	/* Two descriptors are taken by the capture; the file gets one, and there is none for standard output as it was.
	 */
	assert_int_equal(report_limited(RLIMIT_NOFILE, (rlim_t)lowest + 3, true), -EMFILE);
	assert_int_equal(dup(STDIN_FILENO), lowest);
	close(lowest);
}

static void a_record_that_could_not_be_made_is_out_of_memory(void **state)
{
	struct report *report = NULL;
	const char *why = NULL;

	(void)state;
	assert_int_equal(report_open(&report, &(struct report_style){.format = "json"}, columns, "region", &why), 0);
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
			    "swapctl: cannot attach to process 812?: Operation not permitted (run it as root)\n"
			    "swapctl: cannot look: it is ?odd\n");
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
	struct progress progress = {.what = "moving", .enabled = true, .started_us = now_us() - 2000000};
	const char *text;

	(void)state;
	capture_begin(&printed, STDERR_FILENO);
	progress_update(&progress, MiB, 4 * MiB);
	progress_update(&progress, 2 * MiB, 4 * MiB);
	progress_end(&progress);
	text = capture_end(&printed);
	assert_non_null(strstr(text, "\r\033[Kmoving: 1.0 MiB of 4.0 MiB (25%), "));
	assert_non_null(strstr(text, " KiB/s, "));
	assert_string_equal(strstr(text, " s left"), " s left\r\033[K");
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
		cmocka_unit_test(records_are_lines_with_the_version_first),
		cmocka_unit_test(without_a_terminal_the_format_is_json),
		cmocka_unit_test(records_are_flushed_one_by_one),
		cmocka_unit_test(records_of_parts_wait_for_each_other_but_not_for_long),
		cmocka_unit_test(lines_of_parts_are_never_cut_between_writes),
		cmocka_unit_test(parts_make_rows_of_a_table),
		cmocka_unit_test(tables_align_and_come_before_other_records),
		cmocka_unit_test(summaries_are_sentences),
		cmocka_unit_test(chosen_columns_may_be_any_key),
		cmocka_unit_test(tables_show_nothing_that_steers_the_terminal),
		cmocka_unit_test(long_tables_are_not_kept_in_memory),
		cmocka_unit_test(wrong_formats_are_refused),
		cmocka_unit_test(output_that_cannot_be_written_is_told),
		cmocka_unit_test(a_file_that_cannot_be_written_leaves_nothing_anywhere),
		cmocka_unit_test(a_record_that_could_not_be_made_is_out_of_memory),
		cmocka_unit_test(flags_are_names),
		cmocka_unit_test(errors_are_one_line),
		cmocka_unit_test(tables_say_what_a_code_means),
		cmocka_unit_test(errors_are_records),
		cmocka_unit_test(progress_is_silent_without_a_terminal),
		cmocka_unit_test(progress_is_drawn_and_wiped),
		cmocka_unit_test(a_number_of_a_record_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
