/* SPDX-License-Identifier: MIT */
/* superpages: lists the superpages of live processes that are in use and in core. */
#include "superpages_args.h"

static const struct cli_verb verb = {
	.run = verb_list,
	.usage = "[OPTION...] PID...",
	.about = "List the superpages of a live process that are in use and resident.",
	.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
	.columns = list_columns,
	.metrics = list_metrics,
	.type = "region",
	.keys = "vma_start vma_end pid starttime swappable_bytes out_bytes stays idle_bytes",
	.sentences =
		"{+superpages|superpage|superpages} of {superpage_bytes}: {+resident_bytes} resident[, "
		"{huge_bytes} of it huge]"
		"[, {swapped_bytes} swapped][, none of it touched in {idle_us}]"
		"[; {idle_unlisted_bytes} idle elsewhere, in mappings touched in part]"
		"\n{+processes|process|processes}: {+resident_bytes} resident, {+swappable_bytes} of it swappable[, "
		"{idle_bytes} idle for {idle_us}][, {out_bytes} out][; {unreadable} could not be read]",
};

static struct list_options values;

const struct cli_tool tool = {.name = "superpages", .options = superpages_options, .values = &values, .verbs = &verb};
