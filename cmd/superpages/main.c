/* SPDX-License-Identifier: MIT */
/* superpages: lists the superpages of a live process that are in use and in core. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/exit.h"
#include "list.h"
#include "report/input.h"

#define NAME "superpages"

static const struct report_column columns[] = {
	{"start", "START", COLUMN_TEXT},
	{"end", "END", COLUMN_TEXT},
	{"bytes", "BYTES", COLUMN_SIZE},
	{"resident_bytes", "RESIDENT", COLUMN_SIZE},
	{"swapped_bytes", "SWAPPED", COLUMN_SIZE},
	{"huge_bytes", "HUGE", COLUMN_SIZE},
	{"perm", "PERM", COLUMN_TEXT},
	{"name", "NAME", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

/* The tool's own options as they were written. */
struct texts {
	char *max, *size, *min_resident, *kind, *name, *range, *sort, *method;
	int merge, swappable;
};

static void texts_free(struct texts *texts)
{
	char **all[] = {&texts->max,  &texts->size,  &texts->min_resident, &texts->kind,
			&texts->name, &texts->range, &texts->sort,         &texts->method};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		cleanup_free(all[i]);
}

/* The position of text in a list of words, or -1. The first word is the default. */
static int choose(const char *text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(text ? text : words[0], words[i]))
			return i;
	return -1;
}

static int parse_min_resident(const char *text, struct list_options *list)
{
	size_t length = strlen(text);
	char number[16];
	int64_t percent;

	if (!length || text[length - 1] != '%')
		return size_parse(text, &list->min_resident);
	if (length > sizeof(number))
		return -EINVAL;
	memcpy(number, text, length - 1);
	number[length - 1] = '\0';
	if (number_parse(number, 0, 100, &percent))
		return -EINVAL;
	list->min_resident = (uint64_t)percent;
	list->min_is_percent = true;
	return 0;
}

static int parse_numbers(const struct texts *texts, struct list_options *list)
{
	char smallest[SIZE_TEXT];

	list->max = -1;
	list->size = 2 * MiB;
	list->min_resident = 1;
	if (texts->max && number_parse(texts->max, INT64_MIN, INT64_MAX, &list->max))
		return cli_usage_error(NAME, "--max: %s is not a number", texts->max);
	if (texts->size &&
	    (size_parse(texts->size, &list->size) || !is_power_of_two(list->size) || list->size < page_size()))
		return cli_usage_error(NAME, "--size: %s is not a power of two from %s up", texts->size,
				       size_format(smallest, page_size()));
	if (texts->min_resident && parse_min_resident(texts->min_resident, list))
		return cli_usage_error(NAME, "--min-resident: %s is neither a size nor a percentage up to 100%%",
				       texts->min_resident);
	return EXIT_DONE;
}

static int parse_words(const struct texts *texts, struct list_options *list)
{
	static const char *const kinds[] = {"anon", "file", "shmem", "all"};
	static const char *const sorts[] = {"address", "resident"};
	static const char *const methods[] = {"auto", "scan", "pagemap", "mincore"};
	int kind = choose(texts->kind, kinds, ARRAY_SIZE(kinds));
	int sort = choose(texts->sort, sorts, ARRAY_SIZE(sorts));
	int method = choose(texts->method, methods, ARRAY_SIZE(methods));

	if (kind < 0)
		return cli_usage_error(NAME, "--kind: %s is none of anon, file, shmem, all", texts->kind);
	if (sort < 0)
		return cli_usage_error(NAME, "--sort: %s is neither address nor resident", texts->sort);
	if (method < 0)
		return cli_usage_error(NAME, "--method: %s is none of auto, scan, pagemap, mincore", texts->method);
	list->kind = (enum list_kind)kind;
	list->by_resident = sort == 1;
	list->method = (enum pages_method)method;
	return EXIT_DONE;
}

static int parse_range(const char *text, struct list_options *list)
{
	struct region range;

	if (region_parse(text, &range))
		return cli_usage_error(NAME, "--range: %s is not START-END in hexadecimal", text);
	if ((range.start | range.end) & (page_size() - 1))
		return cli_usage_error(NAME, "--range: %s does not begin and end at pages", text);
	list->limited = true;
	return region_vec_push(&list->within, range) ? EXIT_FAILED : EXIT_DONE;
}

static int parse_options(const struct texts *texts, struct list_options *list)
{
	int code = parse_numbers(texts, list);

	if (!code)
		code = parse_words(texts, list);
	if (!code && texts->range)
		code = parse_range(texts->range, list);
	list->name = texts->name;
	list->merge = texts->merge;
	list->swappable = texts->swappable;
	return code;
}

/* Narrows the walk to the regions of a file, which it takes over. */
static int use_regions(struct list_options *list, struct region_vec *given)
{
	struct region_vec both = {0};
	int result = 0;

	region_vec_normalize(given);
	if (list->limited) {
		result = region_vec_intersect(given, &list->within, &both);
		region_vec_free(&list->within);
	} else {
		both = *given;
		*given = (struct region_vec){0};
	}
	list->within = both;
	list->limited = true;
	return result;
}

/*
 * Traced processes and those in seccomp strict mode can be looked at all the same, unless the look is a system call of
 * theirs.
 */
static int check(const struct target *target, enum pages_method method, struct error *error)
{
	return method == PAGES_MINCORE ? target_check(target, error) : target_check_readable(target, error);
}

static int run(const struct cli_options *options, struct list_options *list, struct report *report, struct error *error)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	_cleanup_input_ struct region_input input = {0};
	int result = 0;

	if (options->regions)
		result = region_input_read(&input, options->regions, page_size(), error);
	if (!result)
		result = target_open(&target, options->pid, options->pidfd, error);
	if (!result)
		result = target_matches(&target, input.pid, input.starttime, error);
	if (!result)
		result = check(&target, list->method, error);
	if (result)
		return result;
	if (options->regions && use_regions(list, &input.regions))
		return error_set(error, -ENOMEM, NULL, NULL, "read regions from %s", options->regions);
	return list_superpages(list, &target, report, error);
}

static int report_and_run(const struct cli_options *options, struct list_options *list)
{
	struct error error = {0};
	struct report *report;
	const char *why;
	int result, closed;

	if (report_open(&report, options->format, options->columns, columns, "region", &why))
		return cli_usage_error(NAME, "%s", why);
	result = run(options, list, report, &error);
	closed = report_close(report);
	if (closed && !result)
		result = error_set(&error, closed, NULL, NULL, "write records");
	if (result)
		error_print(NAME, &error);
	return exit_code_of(result);
}

int main(int argc, const char **argv)
{
	__attribute__((cleanup(texts_free))) struct texts texts = {0};
	const struct poptOption own[] = {
		{"max", 0, POPT_ARG_STRING, &texts.max, 0, "List at most N superpages (negative: no limit)", "N"},
		{"size", 0, POPT_ARG_STRING, &texts.size, 0, "Bytes of a superpage, a power of two (2M)", "SIZE"},
		{"min-resident", 0, POPT_ARG_STRING, &texts.min_resident, 0,
		 "Leave out what has fewer bytes, or a smaller share, in core (1)", "SIZE|PERCENT%"},
		{"kind", 0, POPT_ARG_STRING, &texts.kind, 0, "anon, file, shmem or all (anon)", "KIND"},
		{"name", 0, POPT_ARG_STRING, &texts.name, 0, "Only mappings with a name that matches", "GLOB"},
		{"range", 0, POPT_ARG_STRING, &texts.range, 0, "Only addresses from START up to END", "START-END"},
		{"merge", 0, POPT_ARG_NONE, &texts.merge, 0, "Join neighbours of one mapping into one region", NULL},
		{"swappable", 0, POPT_ARG_NONE, &texts.swappable, 0, "Only what swapctl would take", NULL},
		{"sort", 0, POPT_ARG_STRING, &texts.sort, 0, "address, or resident: most resident first (address)",
		 "ORDER"},
		{"method", 0, POPT_ARG_STRING, &texts.method, 0,
		 "auto, scan, pagemap or mincore: how to find what is in core (auto)", "METHOD"},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = NAME,
		.usage = "[OPTION...] -p PID",
		.about = "Lists the superpages of a live process that are in use and in core.",
		.options = own,
		.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	};
	_cleanup_options_ struct cli_options options = {.pidfd = -1};
	struct list_options list = {0};
	int code;

	if (cli_popt_parse(&tool, argc, argv, &options, NULL, &code))
		return code;
	if (!options.pid && options.pidfd < 0)
		return cli_usage_error(NAME, "which process? give -p PID or --pidfd FD (see " NAME " --help)");
	code = parse_options(&texts, &list);
	list.quiet = options.quiet;
	if (!code)
		code = report_and_run(&options, &list);
	region_vec_free(&list.within);
	return code;
}
