/* SPDX-License-Identifier: MIT */
/* The options of superpages, a row each. Included by main.c alone. */
#pragma once

#include <errno.h>
#include <string.h>

#include "base/size.h"
#include "list.h"

#define AT(member) offsetof(struct list_options, member)

/* A size, or a percentage. */
static int parse_resident(const char *text, void *value)
{
	struct list_least *resident = value;
	size_t length = strlen(text);
	char number[16];
	int64_t percent;

	resident->is_percent = length && text[length - 1] == '%';
	if (!resident->is_percent)
		return size_parse(text, &resident->least);
	if (length > sizeof(number))
		return -EINVAL;
	memcpy(number, text, length - 1);
	number[length - 1] = '\0';
	if (number_parse(number, 0, 100, &percent) < 0)
		return -EINVAL;
	resident->least = (uint64_t)percent;
	return 0;
}

static const struct cli_option superpages_options[] = {
	{"max", 0, CLI_NUMBER, AT(max), "N", .initial = "-1", .lowest = INT64_MIN,
	 .help = "List at most N superpages, or processes; negative: no limit"},
	{"size", 0, CLI_POWER, AT(size), "SIZE", .initial = "2M", .words = "4K 64K 2M 1G",
	 .help = "Take this power of two as the size of a superpage"},
	{"min-resident", 0, CLI_PARSED, AT(resident), "SIZE|PERCENT%", .initial = "1", .parse = parse_resident,
	 .words = "4K 1M 50% 100%", .refusal = "is neither a size nor a percentage up to 100%",
	 .help = "Leave out what has fewer bytes, or a smaller share, resident"},
	{"kind", 0, CLI_WORD, AT(kind), "KIND", .initial = "anon", .words = "anon file shmem all",
	 .help = "List mappings of this kind: anon, file, shmem or all"},
	{"name", 0, CLI_TEXT, AT(name), "GLOB", .help = "List only mappings whose name matches"},
	{"range", 0, CLI_RANGE, AT(range), "START-END", .help = "List only addresses from START up to END"},
	{"merge", 0, CLI_FLAG, AT(merge), .help = "Join adjacent superpages of one mapping into one region"},
	{"swappable", 0, CLI_FLAG, AT(swappable), .help = "List only what swapctl would take"},
	{"summary", 0, CLI_FLAG, AT(summary),
	 .help = "Print a line for each process, and why the rest cannot be swapped"},
	{"idle", 0, CLI_TIME, AT(idle_ns), "SECONDS", .lowest = 100, .highest = 30 * INT64_C(86400000),
	 .words = "10 1m 1h", .help = "List only what nothing touches in this time, for which it waits"},
	{"sort", 0, CLI_WORD, AT(sort), "ORDER", .initial = "address",
	 .words = "address resident swappable out huge idle",
	 .help = "Sort by address, or by most: resident; with --summary also swappable, out, huge or idle"},
	{"method", 0, CLI_WORD, AT(method), "METHOD", .initial = "auto", .words = "auto scan pagemap mincore",
	 .help = "Find what is resident by scan, pagemap or mincore"},
	{0},
};
