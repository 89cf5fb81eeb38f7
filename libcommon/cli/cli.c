/* SPDX-License-Identifier: MIT */
/* What verbs need beside the table of options: errors of usage, process ids, freeing. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
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
	fprintf(stderr, "%s: cannot %s%s\n", name, text && *text == '-' && strstr(text, ": ") ? "use " : "begin: ",
		text ? text_make_safe(text) : "wrong usage");
	return EXIT_USAGE;
}

int cli_flush(const char *name)
{
	bool failed = fflush(stdout) != 0 || ferror(stdout);

	if (!failed)
		return EXIT_DONE;
	/* The write that failed may be long ago: another one fails for the same reason. */
	clearerr(stdout);
	errno = EIO;
	if (putchar('\n') == EOF || fflush(stdout))
		fprintf(stderr, "%s: cannot write to standard output: %s\n", name, strerror(errno));
	return EXIT_FAILED;
}

bool cli_names_process(const struct cli_options *options)
{
	return options->processes.pids || options->processes.pidfd >= 0;
}

bool cli_chooses_process(const struct cli_options *options)
{
	const struct cli_processes *processes = &options->processes;

	return cli_names_process(options) || processes->comms || processes->cgroups || processes->units ||
	       processes->all;
}

bool cli_operands_are_pids(const struct cli_verb *verb)
{
	return verb->takes & CLI_TAKES_PID && !verb->operands;
}

enum cli_offer cli_operands_offer(const struct cli_verb *verb)
{
	return cli_operands_are_pids(verb) ? CLI_OFFERS_PROCESSES : verb->offers;
}

void cli_options_free(struct cli_options *options)
{
	cli_shared_free(options);
	if (options->tool)
		cli_values_free(options->tool->options, options->tool->values);
	*options = (struct cli_options){.processes.pidfd = -1};
}
