/* SPDX-License-Identifier: MIT */
/* The command line of a verb, read by popt from the tool's table of options. */
#include <ctype.h>
#include <errno.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/exit.h"

#define GROUPS_MAX 5
#define HELP_WIDTH 78

/* One command line on its way. */
struct line {
	const struct cli_tool *tool;
	const struct cli_verb *verb;
	struct cli_options *options;
	const char *name;
	struct cli_row rows[CLI_ROWS_MAX];
	size_t count;
	bool given[CLI_ROWS_MAX];
	char *helps[CLI_ROWS_MAX];
	struct poptOption popt[CLI_ROWS_MAX + GROUPS_MAX]; /* the groups of --help, each with its end */
	struct poptOption groups[GROUPS_MAX + 1];
	const char **words;
	poptContext context;
};

static int no_memory(const struct line *line)
{
	fprintf(stderr, "%s: cannot read the command line: %s\n", line->name, strerror(ENOMEM));
	return EXIT_FAILED;
}

static void *values_of(const struct line *line, const struct cli_row *row)
{
	return row->own ? line->tool->values : line->options;
}

/* The sentence of an option, with its initial value. */
static char *help_text(const struct cli_option *option)
{
	char *text;

	if (asprintf(&text, option->initial ? "%s (%s)" : "%s", option->help, option->initial) < 0)
		return NULL;
	return text;
}

static struct poptOption popt_row(const struct line *line, size_t i)
{
	const struct cli_option *option = line->rows[i].option;
	unsigned int kind = cli_has_value(option) ? POPT_ARG_STRING : POPT_ARG_NONE;

	return (struct poptOption){
		.longName = option->name,
		.shortName = option->letter,
		.argInfo = kind | (option->optional ? POPT_ARGFLAG_OPTIONAL : 0),
		.val = (int)i + 1,
		.descrip = line->helps[i],
		.argDescrip = option->argument,
	};
}

static void fill_tables(struct line *line)
{
	struct poptOption *popt = line->popt;
	struct poptOption *group = line->groups;

	for (size_t i = 0; i < line->count; i++) {
		if (i == 0 || line->rows[i].title != line->rows[i - 1].title) {
			popt += i > 0; /* the end of the group before */
			*group++ = (struct poptOption){
				.argInfo = POPT_ARG_INCLUDE_TABLE, .arg = popt, .descrip = line->rows[i].title};
		}
		line->helps[i] = help_text(line->rows[i].option);
		*popt++ = popt_row(line, i);
	}
}

/* Calls `visit` with each of some words, until it returns false. */
static bool each_word(const char *words, bool (*visit)(const char *key, size_t length, void *context), void *context)
{
	for (const char *key = words; key && *key; key += strspn(key, " ")) {
		size_t length = strcspn(key, " ");

		if (!visit(key, length, context))
			return false;
		key += length;
	}
	return true;
}

/* Calls `visit` with each key that --columns can name, until it returns false. */
static bool each_column(const struct cli_verb *verb, bool (*visit)(const char *key, size_t length, void *context),
			void *context)
{
	for (const struct report_column *column = verb->columns; column && column->key; column++)
		if (!visit(column->key, strlen(column->key), context))
			return false;
	return each_word(verb->keys, visit, context) &&
	       each_word(verb->takes & CLI_TAKES_PID ? "comm cgroup" : NULL, visit, context);
}

/* One of the names of --columns. */
struct chosen {
	const char *key;
	size_t length;
};

static bool is_other(const char *key, size_t length, void *context)
{
	const struct chosen *chosen = context;

	return length != chosen->length || strncmp(key, chosen->key, length) != 0;
}

static bool join_column(const char *key, size_t length, void *stream)
{
	fprintf(stream, " %.*s", (int)length, key);
	return true;
}

static int refuse_column(const struct line *line, const struct chosen *chosen)
{
	_cleanup_free_ char *all = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&all, &size);

	if (!stream)
		return no_memory(line);
	each_column(line->verb, join_column, stream);
	fclose(stream);
	return cli_usage_error(line->name, "--columns: %.*s%s no column; there are:%s", (int)chosen->length,
			       chosen->key, chosen->length ? " is" : "an empty name is", all ? all : "");
}

static int check_columns(const struct line *line)
{
	const char *at = line->options->style.chosen;
	struct chosen chosen;

	for (; at; at = at[chosen.length] ? at + chosen.length + 1 : NULL) {
		chosen = (struct chosen){at, strcspn(at, ",")};
		if (each_column(line->verb, is_other, &chosen))
			return refuse_column(line, &chosen);
	}
	return EXIT_DONE;
}

static bool print_column(const char *key, size_t length, void *at)
{
	size_t *column = at;

	if (*column + length + 1 > HELP_WIDTH) {
		printf("\n ");
		*column = 1;
	}
	*column += length + 1;
	printf(" %.*s", (int)length, key);
	return true;
}

static void print_columns(const struct cli_verb *verb)
{
	size_t column = 1;

	if (verb->recordless)
		return;
	printf("\nColumns:\n ");
	each_column(verb, print_column, &column);
	putchar('\n');
}

static int print_help(const struct line *line, bool in_short)
{
	if (in_short) {
		poptPrintUsage(line->context, stdout, 0);
	} else {
		printf("%s\n\n", line->verb->about);
		poptSetOtherOptionHelp(line->context, line->verb->usage);
		poptPrintHelp(line->context, stdout, 0);
		print_columns(line->verb);
	}
	return cli_flush(line->name);
}

int cli_print_version(const struct cli_tool *tool)
{
	printf("%s (uvmtools) " UVM_VERSION "\n", tool->name);
	return cli_flush(tool->name);
}

/* The option that a long name may stand for; NULL: there is none like it. */
static const char *like_option(const struct line *line, const char *bad)
{
	unsigned int least = CLI_UNLIKE;
	const char *best = NULL;

	for (size_t i = 0; strncmp(bad, "--", 2) == 0 && i < line->count; i++) {
		const char *name = line->rows[i].option->name;

		if (cli_likeness(bad + 2, name) < least) {
			least = cli_likeness(bad + 2, name);
			best = name;
		}
	}
	return best;
}

static int refuse_option(const struct line *line, int code)
{
	const char *bad = poptBadOption(line->context, POPT_BADOPTION_NOALIAS);
	const char *like = code == POPT_ERROR_BADOPT ? like_option(line, bad) : NULL;
	_cleanup_free_ char *why = strdup(poptStrerror(code));

	if (!why)
		return no_memory(line);
	*why = (char)tolower((unsigned char)*why);
	return cli_usage_error(line->name, "%s: %s%s%s%s (see %s --help)", bad, why, like ? ", did you mean --" : "",
			       like ? like : "", like ? "?" : "", line->name);
}

/* Without a value only for options that can stand alone. Returns an exit code. */
static int take_value(const struct line *line, const struct cli_row *row, const char *text)
{
	char why[CLI_REFUSAL];
	int rc;

	if (!text)
		return row->option->optional ? EXIT_DONE : no_memory(line);
	rc = cli_value_parse(row->option, text, values_of(line, row));
	if (rc == -ENOMEM)
		return no_memory(line);
	if (rc < 0)
		return cli_usage_error(line->name, "--%s: %s %s", row->option->name, text,
				       cli_value_refusal(row->option, rc, why));
	return EXIT_DONE;
}

/* `text` is its value, or NULL. Returns 0, or 1 with *exit_status set when the program's work ends here. */
static int take_option(struct line *line, size_t i, const char *text, int *exit_status)
{
	const struct cli_row *row = &line->rows[i];
	const struct cli_option *option = row->option;

	line->given[i] = true;
	switch (option->type) {
	case CLI_VERSION:
		*exit_status = cli_print_version(line->tool);
		return 1;
	case CLI_HELP:
	case CLI_USAGE:
		*exit_status = print_help(line, option->type == CLI_USAGE);
		return 1;
	case CLI_FLAG:
		*(bool *)((char *)values_of(line, row) + option->at) = true;
		return 0;
	case CLI_SET:
		*(int *)((char *)values_of(line, row) + option->at) = (int)option->lowest;
		return 0;
	default:
		*exit_status = take_value(line, row, text);
		return *exit_status != EXIT_DONE;
	}
}

static bool name_given(const struct line *line, const char *name)
{
	for (size_t i = 0; i < line->count; i++)
		if (line->given[i] && strcmp(line->rows[i].option->name, name) == 0)
			return true;
	return false;
}

/* Options that cannot stand beside each other, or alone. */
static int check_together(const struct line *line)
{
	for (size_t i = 0; i < line->count; i++) {
		const struct cli_option *option = line->rows[i].option;

		if (line->given[i] && option->against && name_given(line, option->against))
			return cli_usage_error(line->name, "--%s and --%s: give one of them", option->name,
					       option->against);
		if (line->given[i] && option->needs && !name_given(line, option->needs))
			return cli_usage_error(line->name, "--%s: only with --%s", option->name, option->needs);
	}
	return EXIT_DONE;
}

static void note_given(const struct line *line)
{
	for (size_t i = 0; i < line->count; i++)
		if (line->given[i] && line->rows[i].own)
			line->options->given |= UINT64_C(1) << (line->rows[i].option - line->tool->options);
}

static size_t find_row(const struct line *line, const char *name)
{
	size_t i = 0;

	while (i < line->count && strcmp(line->rows[i].option->name, name) != 0)
		i++;
	return i;
}

/* Cuts a line into an option and its value: "NAME VALUE", "NAME = VALUE" or "NAME". A comment begins with a '#'. */
static char *cut_setting(char *text, char **value)
{
	char *end;

	for (char *at = text; (at = strchr(at, '#')); at++)
		if (at == text || isspace((unsigned char)at[-1]))
			*at = '\0';
	text += strspn(text, " \t\r\n");
	for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]); end--)
		end[-1] = '\0';
	*value = text + strcspn(text, " \t=");
	if (!**value) {
		*value = NULL;
		return text;
	}
	end = *value;
	*value += strspn(*value, " \t");
	*value += **value == '=';
	*value += strspn(*value, " \t");
	*end = '\0';
	return text;
}

/* One line of a file of options. What the command line gives counts more. */
static int take_setting(struct line *line, const bool given[CLI_ROWS_MAX], char *text)
{
	const struct cli_option *option;
	int status = EXIT_DONE;
	char *value;
	char *name = cut_setting(text, &value);
	size_t i = find_row(line, name);

	if (!*name)
		return EXIT_DONE;
	option = i < line->count ? line->rows[i].option : NULL;
	if (!option || option->type == CLI_CONFIG || option->type == CLI_HELP || option->type == CLI_USAGE ||
	    option->type == CLI_VERSION)
		return cli_usage_error(line->name, "--%s: no option of this name can stand here", name);
	if (cli_has_value(option) && !value && !option->optional)
		return cli_usage_error(line->name, "--%s: its value is missing", name);
	if (!cli_has_value(option) && value)
		return cli_usage_error(line->name, "--%s: it takes no value", name);
	if (!given[i])
		take_option(line, i, value, &status);
	return status;
}

/* Errors in the file begin with its name and the line. */
static int read_settings(struct line *line, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *text = NULL;
	const char *name = line->name;
	bool given[CLI_ROWS_MAX];
	int status = EXIT_DONE;
	size_t size = 0;

	if (!file)
		return cli_usage_error(name, "--config: %s: %s", path, strerror(errno));
	memcpy(given, line->given, sizeof(given));
	for (size_t number = 1; status == EXIT_DONE && getline(&text, &size, file) >= 0; number++) {
		_cleanup_free_ char *place = NULL;

		if (asprintf(&place, "%s: %s: line %zu", name, path, number) < 0)
			return no_memory(line);
		line->name = place;
		status = take_setting(line, given, text);
		line->name = name;
	}
	return status == EXIT_DONE && ferror(file) ? cli_usage_error(name, "--config: %s: %s", path, strerror(errno))
						   : status;
}

static int read_all_settings(struct line *line)
{
	for (size_t i = 0; i < line->count; i++) {
		const struct cli_row *row = &line->rows[i];

		if (row->option->type == CLI_CONFIG && line->given[i])
			return read_settings(line, *(char **)((char *)values_of(line, row) + row->option->at));
	}
	return EXIT_DONE;
}

static int read_options(struct line *line, int *exit_status)
{
	int option;

	while ((option = poptGetNextOpt(line->context)) > 0) {
		bool has_value = cli_has_value(line->rows[option - 1].option);
		_cleanup_free_ char *text = has_value ? poptGetOptArg(line->context) : NULL;

		if (take_option(line, (size_t)option - 1, text, exit_status))
			return 1;
	}
	*exit_status = option < -1 ? refuse_option(line, option) : read_all_settings(line);
	if (*exit_status == EXIT_DONE)
		*exit_status = check_together(line);
	if (*exit_status == EXIT_DONE)
		*exit_status = check_columns(line);
	note_given(line);
	return *exit_status != EXIT_DONE;
}

static int copy_words(char ***copy, const char **words, size_t count)
{
	*copy = calloc(count + 1, sizeof(**copy));
	for (size_t i = 0; *copy && i < count; i++) {
		(*copy)[i] = strdup(words[i]);
		if (!(*copy)[i])
			cli_operands_free(copy);
	}
	return *copy ? 0 : -ENOMEM;
}

/* Operands that are processes are read as what stands behind -p. */
static int read_pids(const struct line *line, const char **words, size_t count)
{
	const struct cli_row *row = line->rows;
	char why[CLI_REFUSAL];
	int rc = 0;

	while (row->option->type != CLI_PIDS)
		row++;
	if (count && line->options->processes.pidfd >= 0)
		return cli_usage_error(line->name, "%s: not with --pidfd", words[0]);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = cli_value_parse(row->option, words[i], line->options);
		if (rc < 0 && rc != -ENOMEM)
			return cli_usage_error(line->name, "%s %s", words[i], cli_value_refusal(row->option, rc, why));
	}
	return rc < 0 ? no_memory(line) : EXIT_DONE;
}

static int read_operands(const struct line *line, char ***operands, int *exit_status)
{
	const char **words = poptGetArgs(line->context);
	int most = line->verb->operands;
	size_t count = 0;

	while (words && words[count])
		count++;
	*exit_status = EXIT_DONE;
	if (cli_operands_are_pids(line->verb))
		*exit_status = read_pids(line, words, count);
	else if (most >= 0 && count > (size_t)most)
		*exit_status =
			cli_usage_error(line->name, "%s: one word too many (see %s --help)", words[most], line->name);
	if (*exit_status == EXIT_DONE && operands && copy_words(operands, words, count) < 0)
		*exit_status = no_memory(line);
	return *exit_status != EXIT_DONE;
}

/* The values that options have when they are not given. */
static int set_initial_values(const struct line *line)
{
	int status = EXIT_DONE;

	for (size_t i = 0; i < line->count && status == EXIT_DONE; i++)
		if (line->rows[i].option->initial)
			status = take_value(line, &line->rows[i], line->rows[i].option->initial);
	return status;
}

static int open_line(struct line *line, int argc, const char **argv)
{
	/* popt shows argv[0] in its texts; for a verb that must be "swapctl out". */
	line->words = calloc((size_t)argc + 2, sizeof(*line->words));
	if (!line->words)
		return no_memory(line);
	line->words[0] = line->name;
	for (int i = 1; i < argc; i++)
		line->words[i] = i == 1 && strcmp(argv[i], "-?") == 0 ? "--help" : argv[i];
	line->count = cli_rows(line->tool, line->verb, line->rows);
	fill_tables(line);
	line->context = poptGetContext(line->name, argc > 0 ? argc : 1, line->words, line->groups, 0);
	return line->context ? set_initial_values(line) : no_memory(line);
}

static void close_line(struct line *line)
{
	poptFreeContext(line->context);
	for (size_t i = 0; i < line->count; i++)
		free(line->helps[i]);
	free(line->words);
}

int cli_parse(const struct cli_tool *tool, const struct cli_verb *verb, int argc, const char **argv,
	      struct cli_options *options, char ***operands, int *exit_status)
{
	struct line line = {.tool = tool, .verb = verb, .options = options, .name = options->name};
	int done;

	*options = (struct cli_options){.processes.pidfd = -1, .tool = tool};
	snprintf(options->name, sizeof(options->name), "%s%s%s", tool->name, verb->name ? " " : "",
		 verb->name ? verb->name : "");
	if (operands)
		*operands = NULL;
	*exit_status = open_line(&line, argc, argv);
	done = *exit_status != EXIT_DONE || read_options(&line, exit_status) ||
	       read_operands(&line, operands, exit_status);
	close_line(&line);
	if (done)
		cli_options_free(options);
	return done;
}

bool cli_given(const struct cli_options *options, const char *name)
{
	const struct cli_option *rows = options->tool->options;

	for (size_t i = 0; rows[i].name; i++)
		if (options->given >> i & 1 && strcmp(rows[i].name, name) == 0)
			return true;
	return false;
}
