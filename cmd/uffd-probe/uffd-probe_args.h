/* SPDX-License-Identifier: MIT */
/* The options of uffd-probe, a row each. Included by main.c alone. */
#pragma once

#include "probe.h"

#define AT(member) offsetof(struct probe_values, member)

static const struct cli_option probe_options[] = {
	{"exercise", 0, CLI_FLAG, AT(exercise), .help = "Exercise everything, in child processes"},
	{"require", 0, CLI_TEXT, AT(require), "NAME,...", .offers = CLI_OFFERS_OUTPUT,
	 .words = "uffd-probe --list 2>/dev/null | sed -n 's/.*\"name\":\"\\([^\"]*\\)\".*/\\1/p'; echo swapctl",
	 .help = "Succeed only when all of these are usable (see --list), or what swapctl needs"},
	{"list", 0, CLI_FLAG, AT(list), .help = "List the names that --require takes"},
	{0},
};
