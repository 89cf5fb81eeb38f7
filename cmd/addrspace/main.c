/* SPDX-License-Identifier: MIT */
/* addrspace: shows and changes a live process's address space. */
#include "addrspace_args.h"

#define TAKES_BOTH   (CLI_TAKES_PID | CLI_TAKES_REGIONS)
#define MAPPED_KEYS  "pid starttime inode protection flags vma_start vma_end"
#define CHANGED_KEYS MAPPED_KEYS " was_protection op done"
#define CHANGED                                                              \
	"{op}: {+regions|region|regions}, {+bytes}[; {errors|error|errors}]" \
	"[; the longest stop of a thread was {longest_stop_us}]"

static const struct cli_verb verbs[] = {
	{"list", verb_list, "List its mappings, with object, rights, and what is resident",
	 .usage = "-p PID [-r FILE] [OPTION...]",
	 .about = "List the mappings of a process, and what is resident of each.", .takes = TAKES_BOTH,
	 .columns = mapping_columns, .type = "region", .keys = MAPPED_KEYS " vm_flags",
	 .sentences = "{+regions|mapping|mappings}, {+bytes}[; {resident_bytes} resident][, {swapped_bytes} swapped][; "
		      "{grown_bytes} "
		      "more than before]"},
	{"query", verb_query, "Show which object is mapped at an address or over a region",
	 .usage = "-p PID ADDR|START-END [OPTION...]",
	 .about = "Show which object is mapped at an address or over a region, and with which rights.",
	 .takes = CLI_TAKES_PID, .operands = 1, .columns = query_columns, .type = "region",
	 .keys = "pid starttime bytes perm inode flags vma_start vma_end"},
	{"info", verb_info, "Show page size, limits, overcommit and totals of its address space",
	 .usage = "-p PID [OPTION...]", .about = "Show what bounds an address space, and how much of it is used.",
	 .takes = CLI_TAKES_PID, .columns = info_columns, .type = "info",
	 .keys = "starttime min_align_bytes huge_page_bytes min_address commit_limit_bytes committed_bytes "
		 "address_space_limit_bytes data_limit_bytes stack_limit_bytes locked_limit_bytes peak_virtual_bytes "
		 "peak_resident_bytes resident_anon_bytes resident_file_bytes resident_shmem_bytes data_bytes "
		 "locked_bytes pinned_bytes page_table_bytes stack_start stack_end heap_start brk"},
	{"map", verb_map, "Map anonymous memory, a file or a memfd",
	 .usage = "-p PID --size BYTES|--file FILE [OPTION...]",
	 .about = "Map anonymous memory, a file or a memfd into a process.", .takes = CLI_TAKES_PID,
	 .columns = changed_columns, .type = "region", .keys = CHANGED_KEYS, .sentences = CHANGED},
	{"unmap", verb_unmap, "Unmap what is mapped in regions", .usage = "-p PID START-END|-r FILE [OPTION...]",
	 .about = "Unmap what is mapped in regions.", .takes = TAKES_BOTH, .operands = 1, .columns = changed_columns,
	 .type = "region", .keys = CHANGED_KEYS, .whole = true, .sentences = CHANGED},
	{"protect", verb_protect, "Give what is mapped other rights, or make it copy on write",
	 .usage = "-p PID START-END|-r FILE --protection PROTECTION [OPTION...]",
	 .about = "Give what is mapped in regions other rights, or make it copy on write.", .takes = TAKES_BOTH,
	 .operands = 1, .columns = changed_columns, .type = "region", .keys = CHANGED_KEYS, .sentences = CHANGED},
	{"alloc", verb_alloc, "Allocate memory", .usage = "-p PID BYTES [OPTION...]",
	 .about = "Allocate memory in a process: private, anonymous, readable and writable.", .takes = CLI_TAKES_PID,
	 .operands = 1, .words = SIZES, .columns = changed_columns, .type = "region", .keys = CHANGED_KEYS,
	 .sentences = CHANGED},
	{"free", verb_unmap, "Free memory that was allocated, or a part of it",
	 .usage = "-p PID START-END|-r FILE [OPTION...]",
	 .about = "Free memory that alloc has made, or other private anonymous memory; all of it or a part.",
	 .takes = TAKES_BOTH, .operands = 1, .columns = changed_columns, .type = "region", .keys = CHANGED_KEYS,
	 .whole = true, .sentences = CHANGED},
	{"cache", verb_cache, "Map a lazily filled object, and serve its faults",
	 .usage = "--from SOURCE [OPTION...] -p PID|-- COMMAND [ARGUMENT...]",
	 .about = "Map a lazily filled object into a process and serve its faults until stopped.",
	 .takes = CLI_TAKES_PID, .command = "--", .columns = cache_columns, .type = "cache",
	 .keys = "starttime source_bytes writable", .live = true,
	 .sentences = "{+bytes} filled in {+blocks|block|blocks}; {+faults|fault|faults}[; {errors} failed][; half of "
		      "them within "
		      "{fill_p50_us}, 99 % within {fill_p99_us}]"},
	{"clone", verb_clone, "Make a stopped copy-on-write copy, to inspect while it runs on",
	 .usage = "-p PID [OPTION...] [-- COMMAND [ARGUMENT...]]",
	 .about = "Make a stopped copy-on-write copy of a live process, to inspect while it runs on.",
	 .takes = CLI_TAKES_PID, .command = "--", .columns = clone_columns, .type = "clone",
	 .keys = "starttime original_starttime left_out_bytes threads_missed held core core_bytes memory_bytes "
		 "unreadable_bytes excluded_bytes dry_run",
	 .live = true},
	{"drop", verb_drop, "End a clone that clone --hold made", .usage = "-p PID [OPTION...]",
	 .about = "End a clone that addrspace clone --hold made.", .takes = CLI_TAKES_PID, .columns = drop_columns,
	 .type = "drop", .keys = "starttime original_starttime"},
	{"diff", verb_diff, "Show what differs between the memory of two processes", .usage = "PID PID [OPTION...]",
	 .about = "Show which pages differ between the memory of two processes.", .takes = CLI_TAKES_PID,
	 .columns = diff_columns, .type = "region", .keys = "pid starttime other_pid other_starttime",
	 .sentences =
		 "{+changed_bytes} of {+compared_bytes} changed[; {only_in_a_bytes} only in the first][; "
		 "{only_in_b_bytes} only in the second][; {unreadable_bytes} unreadable][; compared in {time_us}]"},
	{0},
};

static struct addrspace_values values;

const struct cli_tool tool = {
	.name = "addrspace",
	.about = "Show and change the address space of a live process.",
	.options = addrspace_options,
	.values = &values,
	.verbs = verbs,
};
