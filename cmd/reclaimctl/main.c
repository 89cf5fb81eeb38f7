/* SPDX-License-Identifier: MIT */
/* reclaimctl: shows and drives deferred-reclamation rings. */
#include "reclaimctl_args.h"

#define RING_KEYS                                                                                                   \
	"starttime address max_capacity wanted_capacity head busy tail failed_entries trimmed_bytes sample_age_ms " \
	"period_ms minimum_bytes weighted_minimum_bytes descriptor_open"
#define ENTRY_KEYS "pid starttime entered_bytes"

static const struct cli_verb verbs[] = {
	{"status", verb_status, "Show what waits in the ring of a process, or of all that have one",
	 .usage = "[-p PID] [OPTION...]",
	 .about = "Show what waits in the ring of a process; without -p, of all processes that have one.",
	 .takes = CLI_TAKES_PID, .columns = ring_columns, .type = "ring", .keys = RING_KEYS, .target_optional = true},
	{"list", verb_list, "List the regions that wait in a ring", .usage = "-p PID [OPTION...]",
	 .about = "List the regions that wait in the ring of a process, oldest first.", .takes = CLI_TAKES_PID,
	 .columns = entry_columns, .type = "region", .keys = ENTRY_KEYS},
	{"query", verb_query, "Show what became of one entry", .usage = "-p PID ID [OPTION...]",
	 .about = "Show what became of an entry of the ring of a process.", .takes = CLI_TAKES_PID, .operands = 1,
	 .columns = entry_columns, .type = "region", .keys = ENTRY_KEYS},
	{"flush", verb_flush, "Reclaim what waits, oldest first",
	 .usage = "-p PID -n N|--bytes BYTES|--all [OPTION...]",
	 .about = "Reclaim what waits in the ring of a process, oldest first.", .takes = CLI_TAKES_PID,
	 .columns = entry_columns, .type = "region", .keys = ENTRY_KEYS},
	{"run", verb_run, "Run a command that keeps what it frees in a ring",
	 .usage = "[OPTION...] -- COMMAND [ARGUMENT...]",
	 .about = "Run a command that keeps the large blocks of memory that it has freed in a ring.", .command = "--",
	 .columns = ring_columns, .type = "ring", .keys = RING_KEYS},
	{"resize", verb_resize, "Ask a program for a ring of another capacity", .usage = "-p PID CAPACITY [OPTION...]",
	 .about = "Ask a program to give its ring room for so many entries, which it does when it next enters one.",
	 .takes = CLI_TAKES_PID, .operands = 1, .columns = ring_columns, .type = "ring", .keys = RING_KEYS},
	{"watch", verb_watch, "Reclaim from rings as programs, memory and limits require, for as long as it runs",
	 .usage = "-p PID...|--pidfd FD|--all [OPTION...]",
	 .about = "Reclaim what waits in rings: what their programs show not to need, when memory is short, when a "
		  "process is stopped, before its cgroup's limit is hit.",
	 .operands = -1, .offers = CLI_OFFERS_PROCESSES, .columns = reclaim_columns, .type = "reclaim",
	 .keys = "starttime wanted_bytes refused_entries stopped_ms limit_bytes left_bytes longest_stop_us dry_run",
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
