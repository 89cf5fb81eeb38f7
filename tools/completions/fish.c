/* SPDX-License-Identifier: MIT */
/* For fish: a line for each option, with the verbs that take it. */
#include <ctype.h>
#include <string.h>

#include "completions.h"

static void print_text(const char *text)
{
	print_quoted(text, "\\'", ":");
}

static void print_help(const char *help)
{
	printf(" -d '%c", toupper((unsigned char)*help));
	print_text(help + 1);
	printf("'\n");
}

static void begin(const struct cli_verb *verb)
{
	printf("complete -c %s", tool.name);
	if (verb->name)
		printf(" -n '__fish_seen_subcommand_from %s'", verb->name);
}

static void print_choices(const struct cli_verb *verb, enum cli_offer offer, const char *words)
{
	static const char *const sources[] = {
		[CLI_OFFERS_WORDS] = "",
		[CLI_OFFERS_FILES] = "",
		[CLI_OFFERS_RECORDS] = "(__fish_complete_suffix .jsonl .json)",
		[CLI_OFFERS_DIRECTORIES] = "(__fish_complete_directories)",
		[CLI_OFFERS_PROCESSES] = "(__fish_complete_pids)",
		[CLI_OFFERS_COLUMNS] = "",
		[CLI_OFFERS_OUTPUT] = "",
	};

	printf(" -a '%s%s", sources[offer], *sources[offer] && words ? " " : "");
	if (offer == CLI_OFFERS_COLUMNS)
		print_columns(verb);
	else if (offer == CLI_OFFERS_OUTPUT)
		printf("(__fish_complete_list , _%s_output)", tool.name);
	else
		print_text(words ? words : "");
	printf("'");
}

static void print_option(const struct cli_verb *verb, const struct cli_option *option)
{
	begin(verb);
	if (option->letter)
		printf(" -s '%c'", option->letter);
	printf(" -l %s", option->name);
	if (option->offers == CLI_OFFERS_FILES)
		printf(" -r -F");
	else if (option->offers == CLI_OFFERS_RECORDS)
		printf(" -r -k");
	else if (cli_has_value(option) && !option->optional)
		printf(" -x");
	if (cli_has_value(option) && offers_anything(option->offers, option->words))
		print_choices(verb, option->offers, option->words);
	if (verb->command && strcmp(verb->command + 2, option->name) == 0)
		printf(" -x -a '(__fish_complete_subcommand)'");
	print_help(option->help);
}

static void print_verb(const struct cli_verb *verb)
{
	struct cli_row rows[CLI_ROWS_MAX];
	size_t count = cli_rows(&tool, verb, rows);

	for (size_t i = 0; i < count; i++)
		print_option(verb, rows[i].option);
	if (offers_anything(cli_operands_offer(verb), verb->words)) {
		begin(verb);
		print_choices(verb, cli_operands_offer(verb), verb->words);
		printf("\n");
	}
	if (verb->command && !verb->command[2])
		printf("complete -c %s -n '__fish_seen_subcommand_from %s; and contains -- -- (commandline -opc)' -a "
		       "'(__fish_complete_subcommand)'\n",
		       tool.name, verb->name);
}

static void print_verbs(void)
{
	printf("set -l none 'not __fish_seen_subcommand_from");
	for_each_verb(verb) printf(" %s", verb->name);
	printf("'\n");
	for_each_verb(verb)
	{
		printf("complete -c %s -n \"$none\" -a %s", tool.name, verb->name);
		print_help(verb->help);
	}
	printf("complete -c %s -n \"$none\" -l version -d 'Print the version'\n", tool.name);
	printf("complete -c %s -n \"$none\" -s '?' -l help -d 'Show help'\n", tool.name);
	printf("complete -c %s -n \"$none\" -l usage -d 'Show the options in short'\n", tool.name);
}

void write_fish(void)
{
	printf("# SPDX-License-Identifier: MIT\n# Completion of %s(1) for fish, made from its table of options.\n\n",
	       tool.name);
	for (const struct cli_option *option = tool.options; option->name; option++)
		if (option->offers == CLI_OFFERS_OUTPUT)
			printf("function _%s_output\n    %s\nend\n\n", tool.name, option->words);
	printf("complete -c %s -f\n", tool.name);
	if (tool.verbs->name)
		print_verbs();
	for_each_verb(verb) print_verb(verb);
}
