/* SPDX-License-Identifier: MIT */
/* superpages: lists the superpages of a live process that are in use and in core. */
#include "superpages_args.h"

static const struct cli_verb verb = {
	.run = verb_list,
	.usage = "[OPTION...] -p PID",
	.about = "List the superpages of a live process that are in use and resident.",
	.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	.columns = list_columns,
	.type = "region",
	.keys = "vma_start vma_end pid starttime",
};

static struct list_options values;

const struct cli_tool tool = {.name = "superpages", .options = superpages_options, .values = &values, .verbs = &verb};
