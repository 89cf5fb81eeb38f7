/* SPDX-License-Identifier: MIT */
/* A process's mappings and their contents, read from outside. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proc/maps.h"
#include "proc/target.h"

struct memory_mapping {
	struct mapping is;
	/* Registered with a userfaultfd that serves missing pages: a page that is not there may hold anything. */
	bool served;
	bool dontdump;             /* MADV_DONTDUMP of madvise(2): the program keeps it out of cores */
	bool unforked;             /* MADV_DONTFORK: the program keeps it from its children */
	const unsigned char *copy; /* its contents, where they were kept; NULL: they are in the process */
};

/* What a process has mapped, in order of address, and ways to look at it. */
struct memory {
	const struct target *target; /* borrowed */
	int mem_fd, pagemap_fd;
	struct memory_mapping *mappings;
	size_t count, capacity;
};

#define MEMORY_NONE ((struct memory){.mem_fd = -1, .pagemap_fd = -1})

/*
 * Reads the mappings of a process, but for those of this toolkit and [vsyscall]. Returns 0 or -errno (-EACCES, -ESRCH).
 * The caller closes it.
 */
int memory_open(struct memory *memory, const struct target *target);
void memory_close(struct memory *memory);

/* Adds to `found`, in order, where in `region` pages are mapped or swapped out. Returns 0 or -errno. */
int memory_populated(const struct memory *memory, struct region region, struct region_vec *found);

/*
 * Reads bytes, also where the process itself may not (proc(5), /proc/PID/mem). Faults in the process what was not
 * there. Returns 0 or -errno.
 */
int memory_read(const struct memory *memory, uint64_t address, void *to, size_t bytes);

#define _cleanup_memory_ __attribute__((cleanup(memory_close)))
