/* SPDX-License-Identifier: MIT */
/* Command lines: tables of options, shared options, operands, verbs, exit codes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/region.h"
#include "capture.h"
#include "cli/cli.h"
#include "cli/exit.h"
#include "report/metrics.h"

static struct capture printed;

static struct own {
	int64_t max;
	uint64_t size, stage, wait, piece, start;
	struct region range;
	char *text;
	char **list;
	int order, encrypt, count;
	bool all;
	uint64_t parsed;
} own;

#define AT(member) offsetof(struct own, member)

static int parse_even(const char *text, void *value)
{
	uint64_t *number = value;

	*number = strtoul(text, NULL, 10);
	return *number % 2 ? -EINVAL : 0;
}

static const struct cli_option own_options[] = {
	{"max", 0, CLI_NUMBER, AT(max), "N", .lowest = INT64_MIN, .initial = "-1", .help = "How many"},
	{"size", 0, CLI_SIZE, AT(size), "BYTES", .lowest = 1, .help = "Of which size"},
	{"text", 't', CLI_TEXT, AT(text), "WORD", .help = "Which word"},
	{"list", 0, CLI_LIST, AT(list), "WORD", .help = "Words"},
	{"order", 0, CLI_WORD, AT(order), "ORDER", .words = "first second third", .initial = "second", .help = "Order"},
	{"stage", 0, CLI_SECONDS, AT(stage), "SECONDS", .lowest = 1, .highest = 60, .help = "How long"},
	{"wait", 0, CLI_TIME, AT(wait), "TIME", .lowest = 10, .highest = 60000, .help = "How long"},
	{"piece", 0, CLI_POWER, AT(piece), "BYTES", .highest = 1 << 26, .help = "Of which size"},
	{"start", 0, CLI_PAGE, AT(start), "ADDR", .lowest = 1, .words = "auto", .help = "Where"},
	{"range", 0, CLI_RANGE, AT(range), "START-END", .help = "Where"},
	{"encrypt", 0, CLI_SET, AT(encrypt), .lowest = 1, .help = "Encrypted"},
	{"no-encrypt", 0, CLI_SET, AT(encrypt), .lowest = 2, .help = "Not encrypted"},
	{"count", 0, CLI_INT, AT(count), "N", .lowest = 1, .highest = 9, .verbs = "in status", .help = "How many"},
	{"all", 0, CLI_FLAG, AT(all), .against = "size", .help = "All of it"},
	{"even", 0, CLI_PARSED, AT(parsed), "N", .needs = "all", .parse = parse_even, .optional = true,
	 .refusal = "is odd", .help = "A number"},
	{0},
};

static int run_nothing(struct run *run)
{
	(void)run;
	return 0;
}

static const struct report_column columns[] = {{"start", "START", COLUMN_ADDRESS}, {NULL, NULL, COLUMN_TEXT}};

static const struct cli_verb verbs[] = {
	{"out", run_nothing, "move memory out", .columns = columns, .keys = "end bytes", .usage = "[OPTION...] -p PID",
	 .about = "Moves memory out.", .takes = CLI_TAKES_PID | CLI_TAKES_REGIONS, .operands = 1},
	{"status", run_nothing, "tell how things stand", .usage = "", .about = "Tells."},
	{0},
};

static const struct cli_tool tool = {"swapctl", "Swaps.", own_options, &own, verbs};

#define ARGS(...) ((const char *[]){"out", __VA_ARGS__, NULL})

static int count_args(const char **argv)
{
	int count = 0;

	while (argv[count])
		count++;
	return count;
}

/* Expects a command line to be refused with this one line. */
static void assert_refused(const char **argv, const char *line)
{
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	int status = -1, done;

	capture_begin(&printed, STDERR_FILENO);
	done = cli_parse(&tool, verbs, count_args(argv), argv, &options, &operands, &status);
	assert_string_equal(capture_end(&printed), line);
	assert_int_equal(done, 1);
	assert_int_equal(status, EXIT_USAGE);
	assert_null(operands);
}

/* Expects text on standard output and exit code 0; returns the text. */
static const char *print_and_leave(const char **argv)
{
	_cleanup_options_ struct cli_options options;
	int status = -1, done;

	capture_begin(&printed, STDOUT_FILENO);
	done = cli_parse(&tool, verbs, count_args(argv), argv, &options, NULL, &status);
	capture_end(&printed);
	assert_int_equal(done, 1);
	assert_int_equal(status, EXIT_DONE);
	return printed.text;
}

static void shared_and_own_options_are_read(void **state)
{
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	const char **argv = ARGS("-p", "812", "--max=-7", "word", "-r", "first", "-r", "-", "--size", "2M", "-q", "-v",
				 "--format=json", "--columns", "start,bytes");
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, verbs, count_args(argv), argv, &options, &operands, &status), 0);
	assert_string_equal(options.name, "swapctl out");
	assert_int_equal(options.processes.pids[0], 812);
	assert_int_equal(options.processes.pids[1], 0);
	assert_int_equal(options.processes.pidfd, -1);
	assert_string_equal(options.regions, "-");
	assert_string_equal(options.style.format, "json");
	assert_string_equal(options.style.chosen, "start,bytes");
	assert_true(options.quiet && options.verbose);
	assert_int_equal(own.max, -7);
	assert_int_equal(own.size, 2 << 20);
	assert_true(cli_given(&options, "max"));
	assert_false(cli_given(&options, "order"));
	assert_string_equal(operands[0], "word");
	assert_null(operands[1]);
}

/* Reads a command line that is right, and leaves the values in `own`. */
static void read_well(const char **argv)
{
	_cleanup_options_ struct cli_options options;
	int status = -1;

	own.encrypt = 0;
	assert_int_equal(cli_parse(&tool, verbs, count_args(argv), argv, &options, NULL, &status), 0);
}

static void values_have_their_types(void **state)
{
	(void)state;
	read_well(ARGS("--order", "third", "--stage", "45", "--wait", "150ms", "--piece=64K", "--start", "0x7000"));
	assert_int_equal(own.order, 2);
	assert_int_equal(own.stage, 45000);
	assert_int_equal(own.wait, 150000000);
	assert_int_equal(own.piece, 65536);
	assert_int_equal(own.start, 0x7000);
	read_well(ARGS("--encrypt", "--no-encrypt", "--start=auto", "--wait", "2", "--range", "1000-3000"));
	assert_int_equal(own.encrypt, 2);
	assert_int_equal(own.start, 0);
	assert_int_equal(own.wait, 2000000000);
	assert_int_equal(own.range.end, 0x3000);
	read_well(ARGS("--all", "--even=4"));
	assert_int_equal(own.parsed, 4);
	read_well(ARGS("--all", "--even"));
}

static void texts_are_kept_until_they_are_freed(void **state)
{
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("-t", "one", "--text", "two", "--list", "a", "--list=b");
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, verbs, count_args(argv), argv, &options, NULL, &status), 0);
	assert_string_equal(own.text, "two");
	assert_string_equal(own.list[1], "b");
	assert_null(own.list[2]);
	cli_options_free(&options);
	assert_null(own.text);
	assert_null(own.list);
}

/* A leak of what is kept is for the sanitizer to see. */
static void records_can_go_to_a_file_where_there_are_metrics(void **state)
{
	static const struct report_metric none[] = {{0}};
	static const struct cli_verb measured = {"out", run_nothing, "", .about = "", .metrics = none};
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("--output", "one", "--output=two");
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, &measured, count_args(argv), argv, &options, NULL, &status), 0);
	assert_string_equal(options.style.output, "two");
	assert_refused(argv, "swapctl out: cannot use --output: unknown option (see swapctl out --help)\n");
}

static void wrong_values_are_refused_by_type_and_bounds(void **state)
{
	(void)state;
	assert_refused(ARGS("--max", "many"), "swapctl out: cannot use --max: many is not a number\n");
	assert_refused(ARGS("--max=many"), "swapctl out: cannot use --max: many is not a number\n");
	assert_refused(ARGS("--size", "0"), "swapctl out: cannot use --size: 0 is not a size above 0\n");
	assert_refused(ARGS("--order", "x"), "swapctl out: cannot use --order: x is none of first, second, third\n");
	assert_refused(ARGS("--order", "sec"),
		       "swapctl out: cannot use --order: sec is none of first, second, third\n");
	assert_refused(ARGS("--stage", "61"),
		       "swapctl out: cannot use --stage: 61 is not a time from 1s to 60s, such as 10s or 500ms\n");
	assert_refused(ARGS("--wait", "9ms"),
		       "swapctl out: cannot use --wait: 9ms is not a time from 10ms to 60s, such as 10s or 500ms\n");
	assert_refused(ARGS("--piece", "96K"),
		       "swapctl out: cannot use --piece: 96K is not a power of two from 4K to 64M\n");
	assert_refused(ARGS("--start", "1001"),
		       "swapctl out: cannot use --start: 1001 is not the address of a page in hexadecimal, nor auto\n");
	assert_refused(ARGS("--start=0"),
		       "swapctl out: cannot use --start: 0 is not the address of a page in hexadecimal, nor auto\n");
	assert_refused(ARGS("--range", "2000-1000"),
		       "swapctl out: cannot use --range: 2000-1000 is not START-END in hexadecimal, nor START+SIZE\n");
	assert_refused(ARGS("--range", "1000-2001"),
		       "swapctl out: cannot use --range: 1000-2001 does not begin and end at pages\n");
	assert_refused(ARGS("--even=3"), "swapctl out: cannot use --even: 3 is odd\n");
}

static void options_go_together_or_not(void **state)
{
	(void)state;
	assert_refused(ARGS("--all", "--size=1"), "swapctl out: cannot use --all and --size: give one of them\n");
	assert_refused(ARGS("--even=2"), "swapctl out: cannot use --even: only with --all\n");
	assert_refused(ARGS("--count", "3"),
		       "swapctl out: cannot use --count: unknown option (see swapctl out --help)\n");
}

static void nothing_given_is_nothing_set(void **state)
{
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	const char *argv[] = {"out", NULL};
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, verbs, 1, argv, &options, &operands, &status), 0);
	assert_null(options.processes.pids);
	assert_int_equal(options.processes.pidfd, -1);
	assert_false(cli_chooses_process(&options));
	assert_null(options.regions);
	assert_false(options.quiet || options.verbose);
	assert_non_null(operands);
	assert_null(operands[0]);
}

static void words_after_two_dashes_are_operands(void **state)
{
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	const char **argv = ARGS("--", "--max");
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, verbs, count_args(argv), argv, &options, &operands, &status), 0);
	assert_string_equal(operands[0], "--max");
}

static void a_pidfd_is_a_descriptor_number(void **state)
{
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("--pidfd", "0");
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, verbs, count_args(argv), argv, &options, NULL, &status), 0);
	assert_int_equal(options.processes.pidfd, 0);
	assert_refused(ARGS("--pidfd", "-1"), "swapctl out: cannot use --pidfd: -1 is not a descriptor number\n");
}

#define ZEROS "0000000000000000000000"

static void process_ids_are_above_zero(void **state)
{
	(void)state;
	assert_refused(ARGS("-p", "0"), "swapctl out: cannot use --pid: 0 is not a process id (a number above 0)\n");
	assert_refused(ARGS("-p", "-3"), "swapctl out: cannot use --pid: -3 is not a process id (a number above 0)\n");
	assert_refused(ARGS("--pid=self"),
		       "swapctl out: cannot use --pid: self is not a process id (a number above 0)\n");
	assert_refused(ARGS("--pid", ""), "swapctl out: cannot use --pid:  is not a process id (a number above 0)\n");
	assert_refused(ARGS("-p4294967297"),
		       "swapctl out: cannot use --pid: 4294967297 is not a process id (a number above 0)\n");
	assert_refused(ARGS("-p" ZEROS "14294967297"),
		       "swapctl out: cannot use --pid: " ZEROS "14294967297 is not a process id (a number above 0)\n");
}

static void a_process_is_named_once(void **state)
{
	(void)state;
	assert_refused(ARGS("-p", "1", "--pidfd", "3"),
		       "swapctl out: cannot use --pid and --pidfd: give one of them\n");
}

static void processes_are_lists_and_operands(void **state)
{
	static const struct cli_verb many = {"out", run_nothing, "", .about = "", .takes = CLI_TAKES_PID};
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	const char **argv = ARGS("-p", "3,812", "9", "--comm", "a*", "--pid=4", "--comm", "b", "7,8");
	static const pid_t wanted[] = {3, 812, 4, 9, 7, 8, 0};
	int status = -1;

	(void)state;
	assert_int_equal(cli_parse(&tool, &many, count_args(argv), argv, &options, &operands, &status), 0);
	assert_memory_equal(options.processes.pids, wanted, sizeof(wanted));
	assert_string_equal(options.processes.comms[1], "b");
	assert_null(options.processes.comms[2]);
	assert_refused(ARGS("-p", "1,"), "swapctl out: cannot use --pid: 1, is not a process id (a number above 0)\n");
	assert_refused(ARGS("-p", "1,4294967297"),
		       "swapctl out: cannot use --pid: 1,4294967297 is not a process id (a number above 0)\n");
}

static void wrong_options_are_named(void **state)
{
	(void)state;
	assert_refused(ARGS("--bogus"), "swapctl out: cannot use --bogus: unknown option (see swapctl out --help)\n");
	assert_refused(
		ARGS("--sized=1"),
		"swapctl out: cannot use --sized=1: unknown option, did you mean --size? (see swapctl out --help)\n");
	assert_refused(
		ARGS("--columns", "start,ends"),
		"swapctl out: cannot use --columns: ends is no column; there are: start end bytes comm cgroup\n");
	assert_refused(ARGS("--columns", "start,"), "swapctl out: cannot use --columns: an empty name is no column; "
						    "there are: start end bytes comm cgroup\n");
	assert_refused(ARGS("-x"), "swapctl out: cannot use -x: unknown option (see swapctl out --help)\n");
	assert_refused(ARGS("--pid"), "swapctl out: cannot use --pid: missing argument (see swapctl out --help)\n");
	assert_refused(ARGS("-p", "1", "two", "\033words"),
		       "swapctl out: cannot begin: ?words: one word too many (see swapctl out --help)\n");
}

static void help_goes_to_standard_output(void **state)
{
	const char *text = print_and_leave(ARGS("--help"));

	(void)state;
	assert_non_null(strstr(text, "Usage: swapctl out [OPTION...] -p PID\n"));
	assert_non_null(strstr(text, "Moves memory out."));
	assert_non_null(strstr(text, "--max=N"));
	assert_non_null(strstr(text, "Order (second)"));
	assert_null(strstr(text, "--count"));
	assert_non_null(strstr(text, "-p, --pid=PID"));
	assert_non_null(strstr(text, "--columns"));
	assert_non_null(strstr(text, "\nColumns:\n  start end bytes comm cgroup\n"));
	assert_string_equal(print_and_leave(ARGS("-V")), "swapctl (uvmtools) " UVM_VERSION "\n");
	text = print_and_leave(ARGS("-h"));
	assert_non_null(strstr(text, "--regions"));
	text = print_and_leave(ARGS("-?"));
	assert_non_null(strstr(text, "--regions"));
	text = print_and_leave(ARGS("--usage"));
	assert_non_null(strstr(text, "Usage: swapctl out"));
	assert_string_equal(print_and_leave(ARGS("--version")), "swapctl (uvmtools) " UVM_VERSION "\n");
}

static void options_a_tool_does_not_take_are_unknown(void **state)
{
	static const struct cli_verb only = {.usage = "", .about = "Nothing."};
	static const struct cli_tool plain = {.name = "plain", .verbs = &only};
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("-p", "1");
	int status = -1;

	(void)state;
	capture_begin(&printed, STDERR_FILENO);
	assert_int_equal(cli_parse(&plain, &only, count_args(argv), argv, &options, NULL, &status), 1);
	assert_string_equal(capture_end(&printed), "plain: cannot use -p: unknown option (see plain --help)\n");
	assert_int_equal(status, EXIT_USAGE);
}

static void help_that_cannot_be_written_is_a_failure(void **state)
{
	int saved = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("--help");
	int status = -1;

	(void)state;
	fflush(stdout);
	dup2(full, STDOUT_FILENO);
	capture_begin(&printed, STDERR_FILENO);
	cli_parse(&tool, verbs, count_args(argv), argv, &options, NULL, &status);
	assert_string_equal(capture_end(&printed),
			    "swapctl out: cannot write to standard output: No space left on device\n");
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	close(saved);
	close(full);
	assert_int_equal(status, EXIT_FAILED);
}

static void assert_verb_refused(const char **argv, const char *line)
{
	const struct cli_verb *verb;
	int code = -1;

	capture_begin(&printed, STDERR_FILENO);
	assert_int_equal(cli_find_verb(&tool, count_args(argv), argv, &verb, &code), 1);
	assert_string_equal(capture_end(&printed), line);
	assert_int_equal(code, EXIT_USAGE);
}

static void verbs_are_found_by_name(void **state)
{
	const char *argv[] = {"swapctl", "status", "--all", NULL};
	const struct cli_verb *verb;
	int code;

	(void)state;
	assert_int_equal(cli_find_verb(&tool, 3, argv, &verb, &code), 0);
	assert_ptr_equal(verb, &verbs[1]);
}

static void unknown_verbs_name_the_nearest(void **state)
{
	(void)state;
	assert_verb_refused(ARGS("stats"),
			    "swapctl: cannot begin: stats: unknown verb, did you mean status? (see swapctl --help)\n");
	assert_verb_refused(ARGS("zzz"), "swapctl: cannot begin: zzz: unknown verb (see swapctl --help)\n");
	assert_verb_refused(ARGS("ou"),
			    "swapctl: cannot begin: ou: unknown verb, did you mean out? (see swapctl --help)\n");
	assert_verb_refused(ARGS("-p"), "swapctl: cannot use -p: the verb comes first (see swapctl --help)\n");
	assert_verb_refused((const char *[]){"swapctl", NULL},
			    "swapctl: cannot begin: a verb is missing (see swapctl --help)\n");
}

static const char *print_without_verb(const char *option)
{
	const struct cli_verb *verb;
	int code = -1;

	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(cli_find_verb(&tool, 2, ARGS(option), &verb, &code), 1);
	capture_end(&printed);
	assert_int_equal(code, EXIT_DONE);
	return printed.text;
}

static void verbs_are_listed(void **state)
{
	(void)state;
	assert_non_null(strstr(print_without_verb("--help"), "  status     tell how things stand\n"));
	assert_string_equal(print_without_verb("--usage"), "Usage: swapctl out|status [OPTION...]\n");
	assert_string_equal(print_without_verb("--version"), "swapctl (uvmtools) " UVM_VERSION "\n");
}

static void errors_become_exit_codes(void **state)
{
	static const int codes[][2] = {
		{0, EXIT_DONE},
		{-EINVAL, EXIT_USAGE},
		{-ERANGE, EXIT_USAGE},
		{-E2BIG, EXIT_USAGE},
		{-EPERM, EXIT_FORBIDDEN},
		{-EACCES, EXIT_FORBIDDEN},
		{-ENOSYS, EXIT_UNSUPPORTED},
		{-EOPNOTSUPP, EXIT_UNSUPPORTED},
		{-ENOTTY, EXIT_UNSUPPORTED},
		{-ESRCH, EXIT_GONE},
		{-ESTALE, EXIT_GONE},
		{-ENOMSG, EXIT_NOTHING},
		{-EIO, EXIT_FAILED},
		{-ENOMEM, EXIT_FAILED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		assert_int_equal(exit_code_of(codes[i][0]), codes[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_and_own_options_are_read),
		cmocka_unit_test(values_have_their_types),
		cmocka_unit_test(texts_are_kept_until_they_are_freed),
		cmocka_unit_test(records_can_go_to_a_file_where_there_are_metrics),
		cmocka_unit_test(wrong_values_are_refused_by_type_and_bounds),
		cmocka_unit_test(options_go_together_or_not),
		cmocka_unit_test(nothing_given_is_nothing_set),
		cmocka_unit_test(words_after_two_dashes_are_operands),
		cmocka_unit_test(a_pidfd_is_a_descriptor_number),
		cmocka_unit_test(process_ids_are_above_zero),
		cmocka_unit_test(a_process_is_named_once),
		cmocka_unit_test(processes_are_lists_and_operands),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(help_goes_to_standard_output),
		cmocka_unit_test(options_a_tool_does_not_take_are_unknown),
		cmocka_unit_test(help_that_cannot_be_written_is_a_failure),
		cmocka_unit_test(verbs_are_found_by_name),
		cmocka_unit_test(unknown_verbs_name_the_nearest),
		cmocka_unit_test(verbs_are_listed),
		cmocka_unit_test(errors_become_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
