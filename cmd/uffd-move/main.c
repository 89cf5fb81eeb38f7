/* SPDX-License-Identifier: MIT */
/* uffd-move: moves pages from one place of a live process to another. */
#include "uffd-move_args.h"

static const struct cli_verb verb = {
	.run = verb_move,
	.usage = "-p PID --src ADDR --length BYTES [OPTION...]\n       uffd-move [-p PID] -r FILE [OPTION...]",
	.about = "Move pages from one place of a live process to another.",
	.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	.columns = move_columns,
	.type = "move",
	.keys = "start end would_move_bytes method dst_mapped by name tid touches touched_bytes pid starttime",
};

static struct move_values values;

const struct cli_tool tool = {.name = "uffd-move", .options = move_options, .values = &values, .verbs = &verb};
