/* SPDX-License-Identifier: MIT */
/* Command lines: shared options, operands, verbs, exit codes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "capture.h"
#include "cli/cli.h"
#include "cli/exit.h"

static struct capture printed;
static int own_number;
static char *own_text;

static const struct poptOption own_options[] = {
	{"max", 0, POPT_ARG_INT, &own_number, 0, "How many", "N"},
	{"size", 0, POPT_ARG_STRING, &own_text, 0, "Of which size", "BYTES"},
	POPT_TABLEEND,
};

static const struct cli_popt_tool tool = {
	.name = "swapctl out",
	.usage = "[OPTION...] -p PID",
	.about = "Moves memory out.",
	.options = own_options,
	.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	.operands = 1,
};

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
	done = cli_popt_parse(&tool, count_args(argv), argv, &options, &operands, &status);
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
	done = cli_popt_parse(&tool, count_args(argv), argv, &options, NULL, &status);
	capture_end(&printed);
	assert_int_equal(done, 1);
	assert_int_equal(status, EXIT_DONE);
	return printed.text;
}

static void shared_and_own_options_are_read(void **state)
{
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	const char **argv = ARGS("-p", "812", "--max=-1", "word", "-r", "first", "-r", "-", "--size", "2M", "-q", "-v",
				 "--format=json", "--columns", "start,bytes");
	int status = -1;

	(void)state;
	assert_int_equal(cli_popt_parse(&tool, count_args(argv), argv, &options, &operands, &status), 0);
	assert_int_equal(options.pid, 812);
	assert_int_equal(options.pidfd, -1);
	assert_string_equal(options.regions, "-");
	assert_string_equal(options.format, "json");
	assert_string_equal(options.columns, "start,bytes");
	assert_true(options.quiet && options.verbose);
	assert_int_equal(own_number, -1);
	assert_string_equal(own_text, "2M");
	free(steal_ptr(&own_text));
	assert_string_equal(operands[0], "word");
	assert_null(operands[1]);
}

static void nothing_given_is_nothing_set(void **state)
{
	_cleanup_options_ struct cli_options options;
	_cleanup_operands_ char **operands = NULL;
	const char *argv[] = {"out", NULL};
	int status = -1;

	(void)state;
	assert_int_equal(cli_popt_parse(&tool, 1, argv, &options, &operands, &status), 0);
	assert_int_equal(options.pid, 0);
	assert_int_equal(options.pidfd, -1);
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
	assert_int_equal(cli_popt_parse(&tool, count_args(argv), argv, &options, &operands, &status), 0);
	assert_string_equal(operands[0], "--max");
}

static void a_pidfd_is_a_descriptor_number(void **state)
{
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("--pidfd", "0");
	int status = -1;

	(void)state;
	assert_int_equal(cli_popt_parse(&tool, count_args(argv), argv, &options, NULL, &status), 0);
	assert_int_equal(options.pidfd, 0);
	assert_refused(ARGS("--pidfd", "-1"), "swapctl out: --pidfd: -1 is not a descriptor number\n");
}

static void process_ids_are_above_zero(void **state)
{
	(void)state;
	assert_refused(ARGS("-p", "0"), "swapctl out: --pid: 0 is not a process id (a number above 0)\n");
	assert_refused(ARGS("-p", "-3"), "swapctl out: --pid: -3 is not a process id (a number above 0)\n");
	assert_refused(ARGS("--pid=self"), "swapctl out: --pid: self is not a process id (a number above 0)\n");
	assert_refused(ARGS("--pid", ""), "swapctl out: --pid:  is not a process id (a number above 0)\n");
	assert_refused(ARGS("-p4294967297"), "swapctl out: --pid: 4294967297 is not a process id (a number above 0)\n");
}

static void a_process_is_named_once(void **state)
{
	(void)state;
	assert_refused(ARGS("-p", "1", "--pidfd", "3"), "swapctl out: --pid and --pidfd: give one of them\n");
}

static void wrong_options_are_named(void **state)
{
	(void)state;
	assert_refused(ARGS("--bogus"), "swapctl out: --bogus: unknown option (see swapctl out --help)\n");
	assert_refused(ARGS("-x"), "swapctl out: -x: unknown option (see swapctl out --help)\n");
	assert_refused(ARGS("--max", "many"),
		       "swapctl out: --max: many: invalid numeric value (see swapctl out --help)\n");
	assert_refused(ARGS("--max=many"), "swapctl out: --max=many: invalid numeric value (see swapctl out --help)\n");
	assert_refused(ARGS("--pid"), "swapctl out: --pid: missing argument (see swapctl out --help)\n");
	assert_refused(ARGS("-p", "1", "two", "\033words"),
		       "swapctl out: ?words: one word too many (see swapctl out --help)\n");
}

static void help_goes_to_standard_output(void **state)
{
	const char *text = print_and_leave(ARGS("--help"));

	(void)state;
	assert_non_null(strstr(text, "Usage: swapctl out [OPTION...] -p PID\n"));
	assert_non_null(strstr(text, "Moves memory out."));
	assert_non_null(strstr(text, "--max=N"));
	assert_non_null(strstr(text, "-p, --pid=PID"));
	assert_non_null(strstr(text, "--columns"));
	text = print_and_leave(ARGS("-?"));
	assert_non_null(strstr(text, "--regions"));
	text = print_and_leave(ARGS("--usage"));
	assert_non_null(strstr(text, "Usage: swapctl out"));
	assert_string_equal(print_and_leave(ARGS("--version")), "swapctl (uvmtools) " UVM_VERSION "\n");
}

static void options_a_tool_does_not_take_are_unknown(void **state)
{
	const struct cli_popt_tool plain = {.name = "plain", .usage = "", .about = "Nothing."};
	_cleanup_options_ struct cli_options options;
	const char **argv = ARGS("-p", "1");
	int status = -1;

	(void)state;
	capture_begin(&printed, STDERR_FILENO);
	assert_int_equal(cli_popt_parse(&plain, count_args(argv), argv, &options, NULL, &status), 1);
	assert_string_equal(capture_end(&printed), "plain: -p: unknown option (see plain --help)\n");
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
	cli_popt_parse(&tool, count_args(argv), argv, &options, NULL, &status);
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	close(saved);
	close(full);
	assert_int_equal(status, EXIT_FAILED);
}

static int run_out(int argc, const char **argv)
{
	assert_int_equal(argc, 2);
	assert_string_equal(argv[0], "out");
	assert_string_equal(argv[1], "--all");
	return EXIT_PARTIAL;
}

static int run_status(int argc, const char **argv)
{
	(void)argc;
	(void)argv;
	return EXIT_FAILED;
}

static const struct cli_popt_verb verbs[] = {
	{"out", run_out, "move memory out"},
	{"status", run_status, "tell how things stand"},
	{NULL, NULL, NULL},
};

static void assert_dispatch_refused(const char **argv, const char *line)
{
	int code;

	capture_begin(&printed, STDERR_FILENO);
	code = cli_dispatch("swapctl", "Swaps.", verbs, count_args(argv), argv);
	assert_string_equal(capture_end(&printed), line);
	assert_int_equal(code, EXIT_USAGE);
}

static void verbs_are_run_by_name(void **state)
{
	const char *argv[] = {"swapctl", "out", "--all", NULL};

	(void)state;
	assert_int_equal(cli_dispatch("swapctl", "Swaps.", verbs, 3, argv), EXIT_PARTIAL);
}

static void unknown_verbs_name_the_nearest(void **state)
{
	(void)state;
	assert_dispatch_refused(ARGS("stats"),
				"swapctl: stats: unknown verb, did you mean status? (see swapctl --help)\n");
	assert_dispatch_refused(ARGS("ou"), "swapctl: ou: unknown verb, did you mean out? (see swapctl --help)\n");
	assert_dispatch_refused(ARGS("-p"), "swapctl: -p: the verb comes first (see swapctl --help)\n");
	assert_dispatch_refused((const char *[]){"swapctl", NULL}, "swapctl: a verb is missing (see swapctl --help)\n");
}

static void verbs_are_listed(void **state)
{
	(void)state;
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(cli_dispatch("swapctl", "Swaps.", verbs, 2, ARGS("--help")), EXIT_DONE);
	capture_end(&printed);
	assert_non_null(strstr(printed.text, "  status     tell how things stand\n"));
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(cli_dispatch("swapctl", "Swaps.", verbs, 2, ARGS("--usage")), EXIT_DONE);
	assert_string_equal(capture_end(&printed), "Usage: swapctl out|status [OPTION...]\n");
	capture_begin(&printed, STDOUT_FILENO);
	assert_int_equal(cli_dispatch("swapctl", "Swaps.", verbs, 2, ARGS("--version")), EXIT_DONE);
	assert_string_equal(capture_end(&printed), "swapctl (uvmtools) " UVM_VERSION "\n");
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
		cmocka_unit_test(nothing_given_is_nothing_set),
		cmocka_unit_test(words_after_two_dashes_are_operands),
		cmocka_unit_test(a_pidfd_is_a_descriptor_number),
		cmocka_unit_test(process_ids_are_above_zero),
		cmocka_unit_test(a_process_is_named_once),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(help_goes_to_standard_output),
		cmocka_unit_test(options_a_tool_does_not_take_are_unknown),
		cmocka_unit_test(help_that_cannot_be_written_is_a_failure),
		cmocka_unit_test(verbs_are_run_by_name),
		cmocka_unit_test(unknown_verbs_name_the_nearest),
		cmocka_unit_test(verbs_are_listed),
		cmocka_unit_test(errors_become_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
