/* SPDX-License-Identifier: MIT */
/* reclaimctl: shows and drives deferred-reclamation rings. */
#include "reclaimctl_args.h"

#define RING_KEYS                                                                                                   \
	"starttime address max_capacity wanted_capacity head busy tail failed_entries trimmed_bytes sample_age_ms " \
	"period_ms minimum_bytes weighted_minimum_bytes descriptor_open"
#define ENTRY_KEYS "pid starttime entered_bytes"
#define RINGS                                                                                                \
	"{+rings|ring|rings}[; {errors} could not be read]\n{?waiting}the program has not taken it up yet\n" \
	"the ring has the capacity asked for"
#define ENTRIES                                                                                           \
	"{+entries|entry|entries}, {+bytes} reclaimed; {+left_bytes} left in {+left_entries}"             \
	"[; {errors} refused][; the process has {freed_resident_bytes} less resident]\n"                  \
	"{+regions|entry|entries}, {+bytes}[; {resident_bytes} resident][; {errors} could not be read]\n" \
	"entry {+id}: {state}"

static const struct cli_verb verbs[] = {
	{"status", verb_status, "Show what waits in the ring of a process, or of all that have one",
	 .usage = "[PID...] [OPTION...]",
	 .about = "Show what waits in the ring of a process; without -p, of all processes that have one.",
	 .takes = CLI_TAKES_PID, .columns = ring_columns, .type = "ring", .metrics = ring_metrics, .keys = RING_KEYS,
	 .sentences = RINGS, .target_optional = true},
	{"list", verb_list, "List the regions that wait in a ring", .usage = "-p PID [OPTION...]",
	 .about = "List the regions that wait in the ring of a process, oldest first.", .takes = CLI_TAKES_PID,
	 .columns = entry_columns, .type = "region", .keys = ENTRY_KEYS, .sentences = ENTRIES},
	{"query", verb_query, "Show what became of one entry", .usage = "-p PID ID [OPTION...]",
	 .about = "Show what became of an entry of the ring of a process.", .takes = CLI_TAKES_PID, .operands = 1,
	 .columns = entry_columns, .type = "region", .keys = ENTRY_KEYS, .sentences = ENTRIES},
	{"flush", verb_flush, "Reclaim what waits, oldest first",
	 .usage = "PID... -n N|--bytes BYTES|--all [OPTION...]",
	 .about = "Reclaim what waits in the rings of processes, oldest first.", .takes = CLI_TAKES_PID,
	 .columns = entry_columns, .type = "region", .keys = ENTRY_KEYS, .sentences = ENTRIES},
	{"run", verb_run, "Run a command that keeps what it frees in a ring",
	 .usage = "[OPTION...] -- COMMAND [ARGUMENT...]",
	 .about = "Run a command that keeps the large blocks of memory that it has freed in a ring.", .command = "--",
	 .columns = ring_columns, .type = "ring", .keys = RING_KEYS, .sentences = RINGS},
	{"resize", verb_resize, "Ask a program for a ring of another capacity", .usage = "-p PID CAPACITY [OPTION...]",
	 .about = "Ask a program to give its ring room for so many entries, which it does when it next enters one.",
	 .takes = CLI_TAKES_PID, .operands = 1, .columns = ring_columns, .type = "ring", .keys = RING_KEYS,
	 .sentences = RINGS},
	{"watch", verb_watch, "Reclaim from rings as programs, memory and limits require, for as long as it runs",
	 .usage = "PID...|--all [OPTION...]",
	 .about = "Reclaim what waits in rings: what their programs show not to need, when memory is short, when a "
		  "process is stopped, before its cgroup's limit is hit.",
	 .takes = CLI_TAKES_PID, .columns = reclaim_columns, .type = "reclaim",
	 .keys = "starttime wanted_bytes refused_entries stopped_ms limit_bytes left_bytes longest_stop_us dry_run",
	 .live = true,
	 .sentences = "{+reclaims|reclaim|reclaims} from {+processes|process|processes}: {+bytes} in "
		      "{+entries|entry|entries}[; {errors|error|errors}]\n{comm} ({pid}): {event}",
	 .target_optional = true},
	{0},
};

static struct reclaimctl_values values;

const struct cli_tool tool = {
	.name = "reclaimctl",
	.about = "Show and drive the rings in which programs keep memory that they may take back.",
	.options = reclaimctl_options,
	.values = &values,
	.verbs = verbs,
};
