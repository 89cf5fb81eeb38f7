/* SPDX-License-Identifier: MIT */
/* What verbs need beside the table of options: errors of usage, process ids, freeing. */
#include "cli/cli.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"
#include "cli/exit.h"

int cli_usage_error(const char *name, const char *message, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, message);
	if (vasprintf(&text, message, args) < 0)
		text = NULL;
	va_end(args);
	fprintf(stderr, "%s: %s\n", name, text ? text_make_safe(text) : "wrong usage");
	return EXIT_USAGE;
}

int cli_check_pids(const char *name, char **pids)
{
	int64_t ignored;

	for (; pids && *pids; pids++)
		if (number_parse(*pids, 1, INT_MAX, &ignored) < 0)
			return cli_usage_error(name, "%s is not a process id", *pids);
	return EXIT_DONE;
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
