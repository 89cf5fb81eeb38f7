/* SPDX-License-Identifier: MIT */
/* Which bytes of a mapping go into a core file. */
#pragma once

#include "clone/memory.h"

/* Which kinds of mappings a core holds: the bits of /proc/PID/coredump_filter, core(5); and one that uvmtools adds. */
enum core_filter {
	CORE_ANON_PRIVATE = 1 << 0,
	CORE_ANON_SHARED = 1 << 1,
	CORE_FILE_PRIVATE = 1 << 2,
	CORE_FILE_SHARED = 1 << 3,
	CORE_ELF_HEADERS = 1 << 4,
	CORE_HUGETLB_PRIVATE = 1 << 5,
	CORE_HUGETLB_SHARED = 1 << 6,
	CORE_USUAL = CORE_ANON_PRIVATE | CORE_ANON_SHARED | CORE_ELF_HEADERS | CORE_HUGETLB_PRIVATE,
	CORE_DONTDUMP = 1 << 16, /* MADV_DONTDUMP does not matter */
};

/* What the process asks for. */
unsigned int core_filter_of(const struct target *target);

/* What of a mapping goes into the file. */
struct core_part {
	uint64_t bytes;          /* from its start (p_filesz); 0: none, a debugger finds them in the mapped file */
	struct region_vec found; /* in order, to be read for it: everything else of them is zeros */
	uint64_t unreadable;     /* should be in it but is not to be had */
	uint64_t excluded;       /* is kept out by the filter or by MADV_DONTDUMP */
};

/* Returns 0 or -errno. `part` is reused: what it found for another mapping is forgotten, its two counts are raised. */
int core_choose(const struct memory *memory, const struct memory_mapping *mapping, unsigned int filter,
		struct core_part *part);

static inline void core_part_free(struct core_part *part)
{
	region_vec_free(&part->found);
}

#define _cleanup_core_part_ __attribute__((cleanup(core_part_free)))
