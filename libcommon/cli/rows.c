/* SPDX-License-Identifier: MIT */
/* Which options a verb takes: the tool's own, and those that all tools share. */
#include <string.h>
#include "cli/cli.h"

#define AT(member) offsetof(struct cli_options, member)

static const struct cli_option process_options[] = {
	{"pid", 'p', CLI_PIDS, AT(processes.pids), "PID,...", .repeated = true, .offers = CLI_OFFERS_PROCESSES,
	 .against = "pidfd", .refusal = "is not a process id (a number above 0)", .help = "Work on these processes"},
	{"pidfd", 0, CLI_INT, AT(processes.pidfd), "FD", .against = "pid", .refusal = "is not a descriptor number",
	 .help = "Work on the process of a pidfd inherited as descriptor FD"},
	{"comm", 0, CLI_LIST, AT(processes.comms), "GLOB", .repeated = true,
	 .help = "Work on processes whose command name matches"},
	{"cgroup", 0, CLI_LIST, AT(processes.cgroups), "PATH", .repeated = true, .offers = CLI_OFFERS_DIRECTORIES,
	 .help = "Work on the processes in a cgroup, and below it"},
	{"unit", 0, CLI_LIST, AT(processes.units), "NAME", .repeated = true,
	 .help = "Work on the processes of a systemd unit"},
	{"all", 0, CLI_FLAG, AT(processes.all), .help = "Work on all processes"},
	{0},
};

static const struct cli_option region_options[] = {
	{"regions", 'r', CLI_TEXT, AT(regions), "FILE", .words = "-", .offers = CLI_OFFERS_RECORDS,
	 .help = "Take only the regions in FILE (-: standard input)"},
	{0},
};

static const struct cli_option common_options[] = {
	{"quiet", 'q', CLI_FLAG, AT(quiet), .help = "Print nothing but errors"},
	{"verbose", 'v', CLI_FLAG, AT(verbose), .help = "Say more on standard error"},
	{"version", 'V', CLI_VERSION, .help = "Print the version"},
	{"help", 'h', CLI_HELP, .help = "Show this help"},
	{"usage", 0, CLI_USAGE, .help = "Show the options in short"},
	{0},
};

static bool has_row(const struct cli_row *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].option->name, name) == 0)
			return true;
	return false;
}

/* `verb` is NULL for options that all tools share: one of the tool's own by that name stands before them. */
static size_t add_rows(struct cli_row *rows, size_t count, const struct cli_option *options, const char *title,
		       const char *verb)
{
	for (; options && options->name && count < CLI_ROWS_MAX; options++)
		if (verb ? !options->verbs || cli_word_in(options->verbs, verb) : !has_row(rows, count, options->name))
			rows[count++] = (struct cli_row){options, title, verb != NULL};
	return count;
}

size_t cli_rows(const struct cli_tool *tool, const struct cli_verb *verb, struct cli_row rows[CLI_ROWS_MAX])
{
	size_t count = add_rows(rows, 0, tool->options, "Options:", verb->name ? verb->name : "");

	if (verb->takes & CLI_TAKES_PID)
		count = add_rows(rows, count, process_options, "Process:", NULL);
	if (verb->takes & CLI_TAKES_REGIONS)
		count = add_rows(rows, count, region_options, "Regions:", NULL);
	return add_rows(rows, count, common_options, "Common options:", NULL);
}
