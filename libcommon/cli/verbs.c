/* SPDX-License-Identifier: MIT */
/* Tools with verbs: finding the verb, and the help that lists them. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/exit.h"

static const char *nearest_verb(const struct cli_verb *verbs, const char *word)
{
	const char *best = verbs->name;

	for (; verbs->name; verbs++)
		if (cli_distance(word, verbs->name) < cli_distance(word, best))
			best = verbs->name;
	return best;
}

static int help_verbs(const struct cli_tool *tool)
{
	printf("%s\n\nUsage: %s VERB [OPTION...]\n\nVerbs:\n", tool->about, tool->name);
	for (const struct cli_verb *verb = tool->verbs; verb->name; verb++)
		printf("  %-10s %s\n", verb->name, verb->help);
	printf("\nSee %s VERB --help for the options of a verb.\n", tool->name);
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int usage_verbs(const struct cli_tool *tool)
{
	printf("Usage: %s ", tool->name);
	for (const struct cli_verb *verb = tool->verbs; verb->name; verb++)
		printf("%s%s", verb->name, verb[1].name ? "|" : "");
	printf(" [OPTION...]\n");
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

/* What stands in place of a verb. Returns the exit code. */
static int no_verb(const struct cli_tool *tool, const char *word)
{
	if (!word)
		return cli_usage_error(tool->name, "a verb is missing (see %s --help)", tool->name);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-?") == 0)
		return help_verbs(tool);
	if (strcmp(word, "--usage") == 0)
		return usage_verbs(tool);
	if (strcmp(word, "--version") == 0)
		return cli_print_version(tool);
	if (*word == '-')
		return cli_usage_error(tool->name, "%s: the verb comes first (see %s --help)", word, tool->name);
	return cli_usage_error(tool->name, "%s: unknown verb, did you mean %s? (see %s --help)", word,
			       nearest_verb(tool->verbs, word), tool->name);
}

int cli_find_verb(const struct cli_tool *tool, int argc, const char **argv, const struct cli_verb **verb,
		  int *exit_status)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	*verb = tool->verbs;
	if (!tool->verbs->name)
		return 0;
	for (; word && (*verb)->name; ++*verb)
		if (strcmp(word, (*verb)->name) == 0)
			return 0;
	*exit_status = no_verb(tool, word);
	return 1;
}
