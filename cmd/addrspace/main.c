/* SPDX-License-Identifier: MIT */
/* addrspace: shows and changes a live process's address space. */
#include "addrspace.h"

int main(int argc, const char **argv)
{
	static const struct cli_popt_verb verbs[] = {
		{"list", verb_list, "its mappings, with object, rights, and what is in core"},
		{"query", verb_query, "which object is mapped at an address or over a region"},
		{"info", verb_info, "page size, limits, overcommit and totals of its address space"},
		{"map", verb_map, "anonymous memory, a file or a memfd into it"},
		{"unmap", verb_unmap, "what is mapped in regions"},
		{"protect", verb_protect, "other rights, or copy on write, for what is mapped"},
		{"alloc", verb_alloc, "memory in it"},
		{"free", verb_free, "memory that was allocated, or a part of it"},
		{"cache", verb_cache, "a lazily filled object in it, whose faults are served"},
		{"clone", verb_clone, "a stopped copy-on-write copy, to look at while it runs on"},
		{"drop", verb_drop, "a clone that clone --hold made: it ends"},
		{"diff", verb_diff, "what differs between the memory of two processes"},
		{NULL, NULL, NULL},
	};

	return cli_dispatch("addrspace", "Shows and changes the address space of a live process.", verbs, argc, argv);
}
