/* SPDX-License-Identifier: MIT */
/* swapctl: moves a live process's memory out to a compressed store and serves it back on fault. */
#include "swapctl_args.h"

#define SESSION_KEYS                                                                                                  \
	"starttime supervisor_pid missing puppet_pid out_pages stored_pages zero_pages store encrypted key compress " \
	"cluster_bytes limit_bytes store_allocated_bytes "                                                            \
	"store_file_bytes pool_bytes moving_pages staged_pages pool_pages filled_pages poisoned_pages spaces "        \
	"moved_pages_total refaulted_pages brought_pages fresh_faults hot_faults fault_wait_us written_back_pages "   \
	"fault_max_us fault_histogram ageing events stops "                                                           \
	"access kept_in tracer_pid"
#define REGION_KEYS "pid starttime bytes op zero_pages filled_pages skipped would_move_bytes"
#define MOVED                                                                                                    \
	"{+moved_bytes} out[ ({compressed_bytes} stored, {moved_bytes:compressed_bytes})][ in {time_us}]" STAYED \
	"\n{+would_move_bytes} would leave" STAYED
#define STAYED  "[; {skipped_bytes} stayed: {skipped}]"
#define BROUGHT "{+brought_bytes} came back[ in {time_us}][; {poisoned_pages|page|pages} are lost]"

static const struct cli_verb verbs[] = {
	{"attach", verb_attach, "Make a session for a process", .usage = "PID... [OPTION...]",
	 .about = "Make sessions for processes: what is needed to swap it out and serve its faults.",
	 .takes = CLI_TAKES_PID, .columns = session_columns, .type = "session", .live = true, .keys = SESSION_KEYS},
	{"out", verb_out, "Swap its memory out (makes a session when it has none)",
	 .usage = "PID... [-r FILE] [OPTION...]",
	 .about = "Move memory of processes out to their sessions' stores: the given regions, or everything eligible.",
	 .takes = CLI_TAKES_PID | CLI_TAKES_REGIONS, .columns = region_columns, .type = "region", .keys = REGION_KEYS,
	 .sentences = MOVED, .brief = true},
	{"in", verb_in, "Bring its memory back without waiting for faults",
	 .usage = "PID... [-r FILE] [OPTION...] [--for COMMAND...]",
	 .about = "Bring back memory that is out: the given regions, or everything. The session stays.",
	 .takes = CLI_TAKES_PID | CLI_TAKES_REGIONS, .command = "--for", .columns = region_columns, .type = "region",
	 .keys = REGION_KEYS, .sentences = BROUGHT, .brief = true},
	{"status", verb_status, "Show what is out, and what the session has done", .usage = "[PID...] [OPTION...]",
	 .about = "Show what is out, and what a session has done; without -p, of all sessions.", .takes = CLI_TAKES_PID,
	 .columns = session_columns, .type = "session", .metrics = session_metrics, .keys = SESSION_KEYS,
	 .target_optional = true},
	{"top", verb_top, "Show sessions as they change, with keys to act on them",
	 .usage = "[PID...|--all] [OPTION...]",
	 .about = "Show sessions, or processes that are chosen, on the terminal as they change.",
	 .takes = CLI_TAKES_PID, .columns = session_columns, .type = "session", .keys = SESSION_KEYS,
	 .target_optional = true},
	{"auto", verb_auto, "Swap cold memory of processes out for as long as it runs",
	 .usage = "PID...|--cgroup PATH|--unit NAME [OPTION...]",
	 .about = "Swap cold memory of processes out, learn from what comes back what is not cold, and leave that "
		  "alone.",
	 .takes = CLI_TAKES_PID, .columns = round_columns, .type = "round",
	 .keys = "starttime written_back_bytes ageing", .live = true,
	 .sentences = "{+processes|process|processes}, {+rounds|round|rounds}: {+moved_bytes} out[, "
		      "{written_back_bytes} to the store]"
		      "[; {refaulted_pages|page|pages} came back][; {errors|error|errors}]"
		      "\n{pid} {op}: {bytes} at {start}, {why}[; {times|time|times} before][; {resident_bytes} of it "
		      "resident]"
		      "\n{pid} {op}: {why}[; {resident_bytes} resident][; {out_bytes} out][; {pool_bytes} in the pool]"
		      "\n{pid}: {written_back_bytes} from the pool to the store[ in {time_us}]",
	 .target_optional = true},
	{"adopt", verb_adopt, "Take up a session whose processes were killed", .usage = "PID... [OPTION...]",
	 .about = "Take up a session whose processes were killed, so that the process's memory comes back when it is "
		  "touched.",
	 .takes = CLI_TAKES_PID, .columns = session_columns, .type = "session", .live = true, .keys = SESSION_KEYS},
	{"check", verb_request, "Verify what is out, the store and the process against each other",
	 .usage = "PID... [OPTION...]",
	 .about = "Verify a session: what is out against the store, every record of it, and the process.",
	 .takes = CLI_TAKES_PID, .columns = error_columns, .type = "error", .keys = "op hint",
	 .sentences = "{+out_pages|page|pages} in {+records|record|records} checked in {time_us}[; "
		      "{poisoned_pages|page|pages} are "
		      "lost][; {errors|error|errors}]"},
	{"detach", verb_request, "Bring everything back and leave the process as it was", .usage = "PID... [OPTION...]",
	 .about = "Bring everything back, remove the session, and leave the process as it was.", .takes = CLI_TAKES_PID,
	 .columns = region_columns, .type = "region", .keys = REGION_KEYS, .sentences = BROUGHT, .brief = true},
	{"run", verb_run, "Run a command with a swap agent, and make a session for it",
	 .usage = "[OPTION...] -- COMMAND [ARGUMENT...]",
	 .about = "Run a command with a swap agent in it, and make a session for it without tracing it.",
	 .command = "--", .columns = session_columns, .type = "session", .live = true, .keys = SESSION_KEYS},
	{0},
};

static struct swapctl_values values;

const struct cli_tool tool = {
	.name = "swapctl",
	.about = "Swap a live, unmodified process out to a compressed store and serve it back on fault.",
	.options = swapctl_options,
	.values = &values,
	.verbs = verbs,
};
