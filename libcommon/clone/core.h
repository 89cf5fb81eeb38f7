/* SPDX-License-Identifier: MIT */
/* A core file of a clone: what a debugger needs to look at the original as it was at that moment. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "clone/clone.h"
#include "report/error.h"
#include "report/report.h"

/* A core file on its way. It has no name, or another one, until it is whole. */
struct clone_core {
	char *path;
	FILE *stream;      /* standard output, which takes the bytes in order; NULL: it is a file */
	uint64_t streamed; /* bytes that went there */
	char *temporary;   /* NULL: the file has no name yet (O_TMPFILE) */
	int fd;
	uint64_t bytes;            /* of the file; what was never touched or is zero takes no space in it */
	uint64_t memory_bytes;     /* of memory in it */
	uint64_t unreadable_bytes; /* left out: the kernel does not give them */
	uint64_t excluded_bytes;   /* of mappings left out because the process wants that */
};

#define CLONE_CORE_NONE ((struct clone_core){.fd = -1})

/*
 * Begins a file beside `path`, mode 0600; "-" is standard output. Returns 0 or -errno with `error` filled: -EINVAL when
 * `path` is there and not a regular file, or a terminal.
 */
int clone_core_open(struct clone_core *core, const char *path, struct error *error);

/*
 * Writes it (ELF core, as fs/binfmt_elf.c lays it out) and gives it its name; a file of that name is replaced. What is
 * in it: private anonymous and shared memory, private mappings of files where a page was written, the first page of
 * other mapped files (their ELF headers), the vdso; and the registers of the original's threads, for which the clone
 * was made with_registers. MADV_DONTDUMP (madvise(2)) and /proc/PID/coredump_filter (core(5)) say what of this is left
 * out and what more is in it; with `all` nothing is left out. `progress` may be NULL. Returns 0 or -errno with `error`
 * filled.
 */
int clone_core_write(struct clone_core *core, const struct process_clone *clone, const struct target *original,
		     bool all, struct progress *progress, struct error *error);

/* Removes what has not become a whole file. */
void clone_core_close(struct clone_core *core);
