/* SPDX-License-Identifier: MIT */
/* Tools with verbs: finding the verb, and the help that lists them. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/exit.h"

static const char *nearest(const struct cli_popt_verb *verbs, const char *word)
{
	const char *best = verbs->name;

	for (; verbs->name; verbs++)
		if (cli_distance(word, verbs->name) < cli_distance(word, best))
			best = verbs->name;
	return best;
}

static int list_verbs(const char *tool, const char *about, const struct cli_popt_verb *verbs)
{
	printf("Usage: %s VERB [OPTION...]\n%s\n\nVerbs:\n", tool, about);
	for (; verbs->name; verbs++)
		printf("  %-10s %s\n", verbs->name, verbs->about);
	printf("\nSee %s VERB --help for the options of a verb.\n", tool);
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int list_in_short(const char *tool, const struct cli_popt_verb *verbs)
{
	printf("Usage: %s ", tool);
	for (; verbs->name; verbs++)
		printf("%s%s", verbs->name, verbs[1].name ? "|" : "");
	printf(" [OPTION...]\n");
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

int cli_dispatch(const char *tool, const char *about, const struct cli_popt_verb *verbs, int argc, const char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	if (!word)
		return cli_usage_error(tool, "a verb is missing (see %s --help)", tool);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-?") == 0)
		return list_verbs(tool, about, verbs);
	if (strcmp(word, "--usage") == 0)
		return list_in_short(tool, verbs);
	if (strcmp(word, "--version") == 0) {
		printf("%s (uvmtools) " UVM_VERSION "\n", tool);
		return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
	}
	if (*word == '-')
		return cli_usage_error(tool, "%s: the verb comes first (see %s --help)", word, tool);

	for (const struct cli_popt_verb *verb = verbs; verb->name; verb++)
		if (strcmp(word, verb->name) == 0)
			return verb->run(argc - 1, argv + 1);
	return cli_usage_error(tool, "%s: unknown verb, did you mean %s? (see %s --help)", word, nearest(verbs, word),
			       tool);
}
