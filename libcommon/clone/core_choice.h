/* Which bytes of a mapping go into a core file. */
#pragma once

#include "clone/memory.h"

/*
 * Bytes from the start of a mapping that the file holds (p_filesz); 0: none, a debugger finds them in the mapped file.
 * Adds to `found`, in order, the regions to be read for it: everything else of them is zeros. Returns 0 or -errno.
 * *unreadable is raised by what should be in it but is not to be had.
 */
int core_choose(const struct memory *memory, const struct memory_mapping *mapping, uint64_t *bytes,
		struct region_vec *found, uint64_t *unreadable);
