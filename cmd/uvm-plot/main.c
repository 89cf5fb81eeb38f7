/* SPDX-License-Identifier: MIT */
/* uvm-plot: draws what the other tools print. */
#include "uvm-plot_args.h"

#define USAGE "[OPTION...] [FILE]"

static const struct cli_verb verbs[] = {
	{"heat", verb_heat, "Draw which memory of a process was touched, over time", .usage = USAGE,
	 .about = "Draw which memory was touched when, from the touch records of uffd-move --watch --again.",
	 .operands = 1, .offers = CLI_OFFERS_RECORDS, .target_optional = true, .recordless = true},
	{"workingset", verb_workingset, "Draw how much memory was touched in each interval", .usage = USAGE,
	 .about = "Draw the working set over time, from the interval records of uffd-move --watch --again.",
	 .operands = 1, .offers = CLI_OFFERS_RECORDS, .target_optional = true, .recordless = true},
	{"latency", verb_latency, "Draw how long faults took", .usage = USAGE,
	 .about = "Draw how long faults took, from the records of swapctl status.", .operands = 1,
	 .offers = CLI_OFFERS_RECORDS, .target_optional = true, .recordless = true},
	{"swapout", verb_swapout, "Draw what was resident before and after a swap-out", .usage = USAGE,
	 .about = "Draw what was resident before and after a swap-out, from the records of swapctl out.", .operands = 1,
	 .offers = CLI_OFFERS_RECORDS, .target_optional = true, .recordless = true},
	{"residency", verb_residency, "Draw how much of which memory is resident", .usage = USAGE,
	 .about = "Draw an address space by how much of it is resident, from the records of superpages or addrspace "
		  "list.",
	 .operands = 1, .offers = CLI_OFFERS_RECORDS, .target_optional = true, .recordless = true},
	{0},
};

static struct plot_values values;

const struct cli_tool tool = {
	.name = "uvm-plot",
	.about = "Draw what the other tools print.",
	.options = plot_options,
	.values = &values,
	.verbs = verbs,
};
