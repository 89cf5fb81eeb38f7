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

static const struct cli_option output_options[] = {
	{"output", 0, CLI_TEXT, AT(style.output), "FILE", .offers = CLI_OFFERS_FILES,
	 .help = "Replace this file by what is printed, at once"},
	{0},
};

/* Of verbs that print records. */
static const struct cli_option record_options[] = {
	{"format", 0, CLI_TEXT, AT(style.format), "FORMAT", .words = "json table raw openmetrics", .against = "raw",
	 .help = "Print json, table, raw or openmetrics (default: table on a terminal)"},
	{"raw", 0, CLI_FLAG, AT(style.raw), .against = "format", .help = "Print columns for scripts: --format raw"},
	{"columns", 'o', CLI_TEXT, AT(style.chosen), "KEY,...", .offers = CLI_OFFERS_COLUMNS,
	 .help = "Show these keys as the table's columns"},
	{"no-headings", 0, CLI_FLAG, AT(style.no_headings), .help = "Show no headings above the columns"},
	{"no-summary", 0, CLI_FLAG, AT(style.no_summary), .help = "Leave out the record that sums up"},
	{"color", 0, CLI_WORD, AT(style.color), "WHEN", .initial = "auto", .words = "auto always never",
	 .help = "Use colors: auto, always or never"},
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

void cli_shared_free(struct cli_options *options)
{
	cli_values_free(process_options, options);
	cli_values_free(region_options, options);
	cli_values_free(output_options, options);
	cli_values_free(record_options, options);
	cli_values_free(common_options, options);
}

size_t cli_rows(const struct cli_tool *tool, const struct cli_verb *verb, struct cli_row rows[CLI_ROWS_MAX])
{
	size_t count = add_rows(rows, 0, tool->options, "Options:", verb->name ? verb->name : "");

	if (verb->takes & CLI_TAKES_PID)
		count = add_rows(rows, count, process_options, "Process:", NULL);
	if (verb->takes & CLI_TAKES_REGIONS)
		count = add_rows(rows, count, region_options, "Regions:", NULL);
	if (verb->metrics)
		count = add_rows(rows, count, output_options, "Output:", NULL);
	if (!verb->recordless)
		count = add_rows(rows, count, record_options, "Common options:", NULL);
	return add_rows(rows, count, common_options, "Common options:", NULL);
}
