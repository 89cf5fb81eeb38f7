/* SPDX-License-Identifier: MIT */
/* Prints what the completion of a tool for a shell is made of, from the table of options that the tool itself reads. */
#include <string.h>

#include "base/cleanup.h"
#include "completions.h"
#include "report/report.h"

const struct cli_verb *next_verb(const struct cli_verb *verb)
{
	return verb->name && verb[1].name ? verb + 1 : NULL;
}

const char *offer_name(enum cli_offer offer)
{
	static const char *const names[] = {
		[CLI_OFFERS_WORDS] = "words",         [CLI_OFFERS_FILES] = "files",
		[CLI_OFFERS_RECORDS] = "records",     [CLI_OFFERS_DIRECTORIES] = "directories",
		[CLI_OFFERS_PROCESSES] = "processes", [CLI_OFFERS_COLUMNS] = "list",
		[CLI_OFFERS_OUTPUT] = "list",
	};

	return names[offer];
}

bool offers_anything(enum cli_offer offer, const char *words)
{
	return words || offer != CLI_OFFERS_WORDS;
}

void print_columns(const struct cli_verb *verb)
{
	const struct report_column *columns = verb->columns;

	for (; columns && columns->key; columns++)
		printf("%s ", columns->key);
	printf("%s", verb->keys);
}

void print_quoted(const char *text, const char *quote, const char *colon)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs(quote, stdout);
		else if (*text == ':')
			fputs(colon, stdout);
		else
			putchar(*text);
	}
}

/* A row for a verb that there is not would be a row for nobody. */
static int check_verbs(const struct cli_option *option)
{
	char words[256];
	char *rest = words;
	const char *word;

	snprintf(words, sizeof(words), "%s", option->verbs ? option->verbs : "");
	while ((word = strsep(&rest, " "))) {
		bool known = !*word;

		for_each_verb(verb) known |= verb->name && strcmp(verb->name, word) == 0;
		if (!known) {
			fprintf(stderr, "%s: --%s: there is no verb %s\n", tool.name, option->name, word);
			return -1;
		}
	}
	return 0;
}

/* For each row there is a bit that says whether it was given. */
static int check_room(const struct cli_option *option)
{
	if (option - tool.options < CLI_ROWS_MAX)
		return 0;
	fprintf(stderr, "%s: more than %d options\n", tool.name, CLI_ROWS_MAX);
	return -1;
}

int main(int argc, const char **argv)
{
	static const struct {
		const char *name;
		void (*write)(void);
	} shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};

	for (const struct cli_option *option = tool.options; option->name; option++)
		if (check_verbs(option) < 0 || check_room(option) < 0)
			return 1;
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(shells); i++)
		if (strcmp(argv[1], shells[i].name) == 0) {
			shells[i].write();
			return fflush(stdout) || ferror(stdout) ? 1 : 0;
		}
	fprintf(stderr, "usage: %s bash|zsh|fish\n", argv[0]);
	return 2;
}
