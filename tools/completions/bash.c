/* SPDX-License-Identifier: MIT */
/* For bash: a function that answers what the frame asks of a verb, "VERB:WHAT". */
#include "completions.h"

static void print_text(const char *text)
{
	print_quoted(text, "'\\''", ":");
}

/* The verbs, the options of each, and what its operands and its command are. */
static void print_verb(const struct cli_verb *verb)
{
	const char *name = verb->name ? verb->name : "";
	struct cli_row rows[CLI_ROWS_MAX];
	size_t count = cli_rows(&tool, verb, rows);

	printf("\t%s:options) echo '", name);
	for (size_t i = 0; i < count; i++)
		printf("%s--%s", i ? " " : "", rows[i].option->name);
	printf("' ;;\n");
	if (verb->command)
		printf("\t%s:command) echo '%s' ;;\n", name, verb->command);
	if (offers_anything(cli_operands_offer(verb), verb->words))
		printf("\t%s:operands) echo '%s %s' ;;\n", name, offer_name(cli_operands_offer(verb)),
		       verb->words ? verb->words : "");
}

static void print_value(const struct cli_verb *verb, const struct cli_option *option)
{
	const char *name = verb->name ? verb->name : "";

	printf("\t%s:--%s", name, option->name);
	if (option->letter)
		printf(" | %s:-%c", name, option->letter);
	printf(") echo ");
	if (option->offers == CLI_OFFERS_OUTPUT) {
		printf("\"list $(%s | tr '\\n' ' ')\" ;;\n", option->words);
		return;
	}
	printf("'%s ", offer_name(option->offers));
	if (option->offers == CLI_OFFERS_COLUMNS)
		print_columns(verb);
	else
		print_text(option->words ? option->words : "");
	printf("' ;;\n");
}

void write_bash(void)
{
	printf("# Completion of %s(1) for bash, made from its table of options.\n\n", tool.name);
	printf("_%s_table() {\n\tcase $1 in\n\tverbs) echo '", tool.name);
	for_each_verb(verb) printf("%s ", verb->name ? verb->name : "");
	printf("' ;;\n");
	for_each_verb(verb)
	{
		struct cli_row rows[CLI_ROWS_MAX];
		size_t count = cli_rows(&tool, verb, rows);

		print_verb(verb);
		for (size_t i = 0; i < count; i++)
			if (cli_has_value(rows[i].option))
				print_value(verb, rows[i].option);
	}
	if (tool.verbs->name)
		printf("\t:options) echo '--version --help --usage' ;;\n");
	printf("\tesac\n}\n");
}
