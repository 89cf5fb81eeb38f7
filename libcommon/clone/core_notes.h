/* SPDX-License-Identifier: MIT */
/* The notes of a core file. */
#pragma once

#include <stddef.h>

#include "clone/clone.h"
#include "clone/memory.h"

/* Makes the contents of PT_NOTE. Returns 0 with *notes (the caller frees it) and *bytes, or -errno. */
int core_notes(const struct memory *memory, const struct process_clone *clone, const struct target *original,
	       char **notes, size_t *bytes);
