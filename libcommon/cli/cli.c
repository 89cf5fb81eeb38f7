/* SPDX-License-Identifier: MIT */
/* Command lines of tools and verbs, over popt. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"
#include "cli/exit.h"

/* Above any value a tool's own options may return. */
enum shared_option {
	OPTION_PID = 0x10000,
	OPTION_PIDFD,
	OPTION_REGIONS,
	OPTION_FORMAT,
	OPTION_COLUMNS,
	OPTION_QUIET,
	OPTION_VERBOSE,
	OPTION_VERSION,
	OPTION_HELP,
	OPTION_USAGE,
};

static struct poptOption pid_options[] = {
	{"pid", 'p', POPT_ARG_STRING, NULL, OPTION_PID, "The process", "PID"},
	{"pidfd", 0, POPT_ARG_STRING, NULL, OPTION_PIDFD, "The process, by a pidfd inherited as descriptor FD", "FD"},
	POPT_TABLEEND,
};

static struct poptOption region_options[] = {
	{"regions", 'r', POPT_ARG_STRING, NULL, OPTION_REGIONS, "Only the regions in FILE (-: standard input)", "FILE"},
	POPT_TABLEEND,
};

static struct poptOption common_options[] = {
	{"format", 0, POPT_ARG_STRING, NULL, OPTION_FORMAT, "json or table (default: table on a terminal)", "FORMAT"},
	{"columns", 0, POPT_ARG_STRING, NULL, OPTION_COLUMNS, "Keys to show as the table's columns", "KEY,..."},
	{"quiet", 'q', POPT_ARG_NONE, NULL, OPTION_QUIET, "No progress", NULL},
	{"verbose", 'v', POPT_ARG_NONE, NULL, OPTION_VERBOSE, "Say more on standard error", NULL},
	{"version", 0, POPT_ARG_NONE, NULL, OPTION_VERSION, "Print the version", NULL},
	{"help", '?', POPT_ARG_NONE, NULL, OPTION_HELP, "Show this help", NULL},
	{"usage", 0, POPT_ARG_NONE, NULL, OPTION_USAGE, "Show the options in short", NULL},
	POPT_TABLEEND,
};

/* Length of the tool's name in "swapctl out". */
static int tool_length(const char *name)
{
	return (int)strcspn(name, " ");
}

static int usage_error(const char *name, const char *message, va_list args)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, message, args) < 0)
		text = NULL;
	fprintf(stderr, "%s: %s\n", name, text ? text_make_safe(text) : "wrong usage");
	return EXIT_USAGE;
}

int cli_usage_error(const char *name, const char *message, ...)
{
	va_list args;
	int code;

	va_start(args, message);
	code = usage_error(name, message, args);
	va_end(args);
	return code;
}

static int print_version(const char *name)
{
	printf("%.*s (uvmtools) " UVM_VERSION "\n", tool_length(name), name);
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int print_help(const struct cli_popt_tool *tool, poptContext context, bool in_short)
{
	if (in_short) {
		poptPrintUsage(context, stdout, 0);
	} else {
		poptSetOtherOptionHelp(context, tool->usage);
		poptPrintHelp(context, stdout, 0);
		printf("\n%s\n", tool->about);
	}
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int no_memory(const char *name)
{
	fprintf(stderr, "%s: read the command line: %s\n", name, strerror(ENOMEM));
	return EXIT_FAILED;
}

static int refuse_option(const struct cli_popt_tool *tool, poptContext context, const char **words, int code)
{
	const char *bad = poptBadOption(context, POPT_BADOPTION_NOALIAS);
	_cleanup_free_ char *why = strdup(poptStrerror(code));
	const char *option = NULL;

	if (!why)
		return no_memory(tool->name);
	*why = (char)tolower((unsigned char)*why);
	/* Of "--max many" popt gives the second word. */
	for (int i = 2; *bad != '-' && words[i - 1] && words[i]; i++)
		if (words[i] == bad)
			option = words[i - 1];
	return cli_usage_error(tool->name, "%s%s%s: %s (see %s --help)", option ? option : "", option ? ": " : "", bad,
			       why, tool->name);
}

/* The value of the option just read; without it the option would be as if it had not been given. */
static int take_text(const struct cli_popt_tool *tool, poptContext context, char **text, int *exit_status)
{
	free(*text);
	*text = poptGetOptArg(context);
	*exit_status = *text ? EXIT_DONE : no_memory(tool->name);
	return *exit_status != EXIT_DONE;
}

static int parse_pid(const struct cli_popt_tool *tool, const char *text, struct cli_options *options)
{
	int64_t pid;

	if (number_parse(text, 1, INT_MAX, &pid))
		return cli_usage_error(tool->name, "--pid: %s is not a process id (a number above 0)", text);
	options->pid = (pid_t)pid;
	return EXIT_DONE;
}

int cli_check_pids(const char *name, char **pids)
{
	int64_t ignored;

	for (; pids && *pids; pids++)
		if (number_parse(*pids, 1, INT_MAX, &ignored) < 0)
			return cli_usage_error(name, "%s is not a process id", *pids);
	return EXIT_DONE;
}

static int parse_pidfd(const struct cli_popt_tool *tool, const char *text, struct cli_options *options)
{
	int64_t fd;

	if (number_parse(text, 0, INT_MAX, &fd))
		return cli_usage_error(tool->name, "--pidfd: %s is not a descriptor number", text);
	options->pidfd = (int)fd;
	return EXIT_DONE;
}

/* One shared option that popt has read. Returns 0, or 1 with *exit_status set when the program's work ends here. */
static int take_option(const struct cli_popt_tool *tool, poptContext context, int option, struct cli_options *options,
		       int *exit_status)
{
	_cleanup_free_ char *text = NULL;

	switch (option) {
	case OPTION_PID:
		if (take_text(tool, context, &text, exit_status))
			return 1;
		*exit_status = parse_pid(tool, text, options);
		return *exit_status != EXIT_DONE;
	case OPTION_PIDFD:
		if (take_text(tool, context, &text, exit_status))
			return 1;
		*exit_status = parse_pidfd(tool, text, options);
		return *exit_status != EXIT_DONE;
	case OPTION_REGIONS:
		return take_text(tool, context, &options->regions, exit_status);
	case OPTION_FORMAT:
		return take_text(tool, context, &options->format, exit_status);
	case OPTION_COLUMNS:
		return take_text(tool, context, &options->columns, exit_status);
	case OPTION_QUIET:
		options->quiet = true;
		return 0;
	case OPTION_VERBOSE:
		options->verbose = true;
		return 0;
	case OPTION_VERSION:
		*exit_status = print_version(tool->name);
		return 1;
	case OPTION_HELP:
	case OPTION_USAGE:
		*exit_status = print_help(tool, context, option == OPTION_USAGE);
		return 1;
	default:
		return 0;
	}
}

static int read_options(const struct cli_popt_tool *tool, poptContext context, const char **words,
			struct cli_options *options, int *exit_status)
{
	int option;

	while ((option = poptGetNextOpt(context)) >= 0)
		if (take_option(tool, context, option, options, exit_status))
			return 1;
	if (option < -1) {
		*exit_status = refuse_option(tool, context, words, option);
		return 1;
	}
	if (options->pid && options->pidfd >= 0) {
		*exit_status = cli_usage_error(tool->name, "--pid and --pidfd: give one of them");
		return 1;
	}
	return 0;
}

static int read_operands(const struct cli_popt_tool *tool, poptContext context, char ***operands, int *exit_status)
{
	const char **words = poptGetArgs(context);
	size_t count = 0;

	while (words && words[count])
		count++;
	if (tool->operands >= 0 && count > (size_t)tool->operands) {
		*exit_status = cli_usage_error(tool->name, "%s: one word too many (see %s --help)",
					       words[tool->operands], tool->name);
		return 1;
	}
	if (!operands)
		return 0;

	*operands = calloc(count + 1, sizeof(**operands));
	for (size_t i = 0; *operands && i < count; i++) {
		(*operands)[i] = strdup(words[i]);
		if (!(*operands)[i])
			cli_operands_free(operands);
	}
	if (*operands)
		return 0;
	*exit_status = no_memory(tool->name);
	return 1;
}

/* The option tables a tool takes, in the order --help shows them. */
static void fill_table(const struct cli_popt_tool *tool, struct poptOption table[5])
{
	static const struct poptOption end = POPT_TABLEEND;
	const struct poptOption include = {NULL, 0, POPT_ARG_INCLUDE_TABLE, NULL, 0, NULL, NULL};

	if (tool->options) {
		*table = include;
		table->arg = (void *)tool->options;
		(table++)->descrip = "Options:";
	}
	if (tool->takes & CLI_TAKES_PID) {
		*table = include;
		table->arg = pid_options;
		(table++)->descrip = "Process:";
	}
	if (tool->takes & CLI_TAKES_REGIONS) {
		*table = include;
		table->arg = region_options;
		(table++)->descrip = "Regions:";
	}
	*table = include;
	table->arg = common_options;
	(table++)->descrip = "Common options:";
	*table = end;
}

int cli_popt_parse(const struct cli_popt_tool *tool, int argc, const char **argv, struct cli_options *options,
		   char ***operands, int *exit_status)
{
	/* popt shows argv[0] in its texts; for a verb that must be "swapctl out". */
	_cleanup_free_ const char **words = calloc((size_t)argc + 2, sizeof(*words));
	struct poptOption table[5];
	poptContext context;
	int done;

	*options = (struct cli_options){.pidfd = -1};
	if (operands)
		*operands = NULL;
	fill_table(tool, table);
	if (!words) {
		*exit_status = no_memory(tool->name);
		return 1;
	}
	words[0] = tool->name;
	for (int i = 1; i < argc; i++)
		words[i] = argv[i];
	context = poptGetContext(tool->name, argc > 0 ? argc : 1, words, table, 0);
	if (!context) {
		*exit_status = no_memory(tool->name);
		return 1;
	}

	done = read_options(tool, context, words, options, exit_status) ||
	       read_operands(tool, context, operands, exit_status);
	poptFreeContext(context);
	if (done)
		cli_options_free(options);
	return done;
}

void cli_options_free(struct cli_options *options)
{
	free(options->regions);
	free(options->format);
	free(options->columns);
	if (options->tool)
		cli_values_free(options->tool->options, options->tool->values);
	*options = (struct cli_options){.pidfd = -1};
}

void cli_operands_free(char ***operands)
{
	for (char **word = *operands; word && *word; word++)
		free(*word);
	free(*operands);
	*operands = NULL;
}
