/* SPDX-License-Identifier: MIT */
/* Tools with verbs: finding the verb, and the help that lists them. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/exit.h"

static int refuse_verb(const struct cli_tool *tool, const char *word)
{
	unsigned int least = CLI_UNLIKE;
	const char *best = NULL;

	for (const struct cli_verb *verb = tool->verbs; verb->name; verb++)
		if (cli_likeness(word, verb->name) < least) {
			best = verb->name;
			least = cli_likeness(word, best);
		}
	return cli_usage_error(tool->name, "%s: unknown verb%s%s%s (see %s --help)", word,
			       best ? ", did you mean " : "", best ? best : "", best ? "?" : "", tool->name);
}

static int help_verbs(const struct cli_tool *tool)
{
	printf("%s\n\nUsage: %s VERB [OPTION...]\n\nVerbs:\n", tool->about, tool->name);
	for (const struct cli_verb *verb = tool->verbs; verb->name; verb++)
		printf("  %-10s %s\n", verb->name, verb->help);
	printf("\nSee %s help VERB for the options of a verb.\n", tool->name);
	return cli_flush(tool->name);
}

static int usage_verbs(const struct cli_tool *tool)
{
	printf("Usage: %s ", tool->name);
	for (const struct cli_verb *verb = tool->verbs; verb->name; verb++)
		printf("%s%s", verb->name, verb[1].name ? "|" : "");
	printf(" [OPTION...]\n");
	return cli_flush(tool->name);
}

/* What stands in place of a verb. Returns the exit code. */
static int no_verb(const struct cli_tool *tool, const char *word)
{
	if (!word)
		return cli_usage_error(tool->name, "a verb is missing (see %s --help)", tool->name);
	if (cli_word_in("help --help -h -?", word))
		return help_verbs(tool);
	if (strcmp(word, "--usage") == 0)
		return usage_verbs(tool);
	if (cli_word_in("--version -V", word))
		return cli_print_version(tool);
	if (*word == '-')
		return cli_usage_error(tool->name, "%s: the verb comes first (see %s --help)", word, tool->name);
	return refuse_verb(tool, word);
}

static const struct cli_verb *verb_named(const struct cli_tool *tool, const char *word)
{
	const struct cli_verb *verb = tool->verbs;

	while (verb->name && strcmp(word, verb->name) != 0)
		verb++;
	return verb->name ? verb : NULL;
}

/* "help VERB", as the verb's --help. */
static int explain_verb(const struct cli_tool *tool, const char *word)
{
	const struct cli_verb *verb = verb_named(tool, word);
	struct cli_options options;
	int status;

	if (!verb)
		return refuse_verb(tool, word);
	cli_parse(tool, verb, 2, (const char *[]){word, "--help", NULL}, &options, NULL, &status);
	return status;
}

int cli_find_verb(const struct cli_tool *tool, int argc, const char **argv, const struct cli_verb **verb,
		  int *exit_status)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	*verb = tool->verbs;
	if (!tool->verbs->name)
		return 0;
	*verb = word ? verb_named(tool, word) : NULL;
	if (*verb)
		return 0;
	*exit_status =
		word && argc > 2 && strcmp(word, "help") == 0 ? explain_verb(tool, argv[2]) : no_verb(tool, word);
	return 1;
}
