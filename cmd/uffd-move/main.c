/* SPDX-License-Identifier: MIT */
/* uffd-move: moves pages from one place of a live process to another. */
#include "uffd-move_args.h"

#define REST                                                                                              \
	"[; {hole_bytes} were not there][; {failed_bytes} could not][; the longest stop of a thread was " \
	"{longest_stop_us}]"

static const struct cli_verb verb = {
	.run = verb_move,
	.usage = "-p PID --src ADDR --length BYTES [OPTION...]\n       uffd-move [-p PID] -r FILE [OPTION...]\n       "
		 "uffd-move -p PID --watch [OPTION...]",
	.about = "Move pages from one place of a live process to another.",
	.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	.columns = move_columns,
	.type = "move",
	.keys = "start end would_move_bytes method dst_mapped by name tid touches touched_bytes pid starttime",
	.sentences = "{+touches|touch|touches} of {+touched_bytes} in {watched_us}; {+moved_bytes} watched"
		     "[; threads waited for {waited_us}][; {lost_touches|touch|touches} were not recorded]\n"
		     "{+moved_bytes} moved[ in {time_us}]" REST "\n{+would_move_bytes} would move" REST,
};

static struct move_values values;

const struct cli_tool tool = {.name = "uffd-move", .options = move_options, .values = &values, .verbs = &verb};
