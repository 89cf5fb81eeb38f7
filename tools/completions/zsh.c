/* SPDX-License-Identifier: MIT */
/* For zsh: what _arguments is told of each verb; the frame has the functions that are named here. */
#include <string.h>

#include "completions.h"

/* Colons end the parts of a specification, brackets its description. */
static void print_text(const char *text)
{
	for (; *text; text++) {
		const char letter[] = {*text, '\0'};

		if (*text == '[' || *text == ']')
			putchar('\\');
		print_quoted(letter, "'\\''", ",");
	}
}

static void print_words(const char *text)
{
	print_quoted(text, "'\\''", "\\:");
}

/* What is not offered any more once this one is there: '(-p --pid --pidfd)'. */
static void print_exclusions(const struct cli_option *option)
{
	bool itself = option->letter && !option->repeated;

	if (itself)
		printf("(-%c --%s", option->letter, option->name);
	if (option->against)
		printf("%s--%s", itself ? " " : "(", option->against);
	if (itself || option->against)
		printf(")");
	if (option->repeated)
		printf("*");
}

/* Quoted, but for the braces in which both names of an option with a letter are. */
static void print_names(const struct cli_option *option)
{
	const char *sign = cli_has_value(option) ? "=" : "";

	if (option->letter)
		printf("'{-%s%c%s,--%s%s}'", option->letter == '?' ? "\\" : "", option->letter, *sign ? "+" : "",
		       option->name, sign);
	else
		printf("--%s%s", option->name, sign);
}

static void print_value(const struct cli_verb *verb, const struct cli_option *option)
{
	printf(":");
	print_text(option->argument);
	printf(": _%s_offer %s ", tool.name, offer_name(option->offers));
	if (option->offers == CLI_OFFERS_COLUMNS)
		print_columns(verb);
	else if (option->offers == CLI_OFFERS_OUTPUT)
		printf("\"${(@f)$(_%s_output)}\"", tool.name);
	else
		print_words(option->words ? option->words : "");
}

static void print_option(const struct cli_verb *verb, const struct cli_option *option)
{
	printf(" \\\n\t\t'");
	print_exclusions(option);
	print_names(option);
	printf("[");
	print_text(option->help);
	printf("]");
	if (cli_has_value(option))
		print_value(verb, option);
	printf("'");
}

/* What stands behind the options of a verb. */
static void print_operands(const struct cli_verb *verb)
{
	const char *command = verb->command;
	bool dashes = command && !command[2];

	/* _arguments knows one kind of rest: with a command behind "--" it is that. */
	if (!dashes && offers_anything(cli_operands_offer(verb), verb->words)) {
		printf(" '*:operand: _%s_offer %s ", tool.name, offer_name(cli_operands_offer(verb)));
		print_words(verb->words ? verb->words : "");
		printf("'");
	}
	if (dashes)
		printf(" '(-)1:command: _command_names -e' '*::arguments: _normal'");
	else if (command)
		printf(" '(-)%s[begins a command, and ends the options]:*::command: _normal'", command);
}

static void print_verb(const struct cli_verb *verb)
{
	struct cli_row rows[CLI_ROWS_MAX];
	size_t count = cli_rows(&tool, verb, rows);

	printf("\t%s)\n\t\t_arguments -s -S", verb->name ? verb->name : "*");
	for (size_t i = 0; i < count; i++)
		if (!verb->command || strcmp(verb->command + 2, rows[i].option->name) != 0)
			print_option(verb, rows[i].option);
	print_operands(verb);
	printf("\n\t\t;;\n");
}

static void print_output(void)
{
	for (const struct cli_option *option = tool.options; option->name; option++)
		if (option->offers == CLI_OFFERS_OUTPUT)
			printf("_%s_output() {\n\t%s\n}\n", tool.name, option->words);
}

void write_zsh(void)
{
	printf("#compdef %s\n", tool.name);
	printf("# Completion of %s(1) for zsh, made from its table of options.\n\n", tool.name);
	print_output();
	printf("_%s_verbs() {\n\tverbs=(\n", tool.name);
	for_each_verb(verb)
	{
		if (!verb->name)
			break;
		printf("\t\t'%s:", verb->name);
		print_words(verb->help);
		printf("'\n");
	}
	printf("\t)\n}\n\n_%s_arguments() {\n\tcase $1 in\n", tool.name);
	for_each_verb(verb) print_verb(verb);
	printf("\tesac\n}\n");
}
