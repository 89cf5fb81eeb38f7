/* SPDX-License-Identifier: MIT */
/* Changing the mappings of a live process, by system calls on one of its own threads. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "edit/pieces.h"
#include "inject/inject.h"

/* What to map, and where. */
struct map_request {
	uint64_t at;     /* page aligned; 0: anywhere */
	uint64_t bytes;  /* whole pages, above 0 */
	uint64_t align;  /* a power of two, for anonymous memory anywhere; 0: a page */
	int fd;          /* our descriptor, given to the target for the call; -1: anonymous memory */
	uint64_t offset; /* in the file; page aligned */
	int protection;  /* PROT_* */
	bool shared;     /* else copy on write */
	bool fixed;      /* at `at` or not at all */
	bool replace;    /* with fixed: whatever is mapped there goes */
	/* Its pages are there when it returns, or it fails: MADV_POPULATE_READ, MADV_POPULATE_WRITE (Linux 5.14). */
	bool populate;
	bool lock;                                /* and are locked: mlock2(2) */
	const volatile sig_atomic_t *interrupted; /* ends populating with -EINTR once it is set; may be NULL */
};

/*
 * Maps. *start receives the place. A thread is stopped for some hundred microseconds, and again for each 4 MiB that are
 * populated. What was mapped without `replace` is gone again when populating or locking fails; with `replace` it stays,
 * and *start is set. Returns 0, or a negative errno with `error` filled: -EEXIST (fixed, and something is mapped
 * there), -ENOMEM, -EPERM, -EACCES as mmap(2) and mlock2(2); -EMFILE (the target has no room for a descriptor),
 * -EOPNOTSUPP (this kernel cannot populate), or as inject_begin.
 */
int inject_map(struct inject *inject, const struct map_request *request, uint64_t *start, struct error *error);

/*
 * One change of one piece. A thread that is stopped already is used; it is let go when it has been kept for a while,
 * and at the end by inject_end. Large pieces are changed in parts, so that it is kept no longer than about a
 * millisecond. *reached receives the address up to which the change was made: the end of the part unless it failed.
 * Returns 0, or a negative errno as munmap(2) or mprotect(2), or as inject_begin.
 */
int inject_unmap_piece(struct inject *inject, const struct edit_piece *piece, uint64_t *reached);
int inject_protect_piece(struct inject *inject, const struct edit_piece *piece, int protection, uint64_t *reached);

/*
 * Makes a piece of a shared mapping copy on write, by mapping the same object over it, private; it is locked afterwards
 * if it was. What the process writes from then on nobody else sees. A piece that is private already stays as it is, but
 * for the protection. What madvise(2) had set is lost. *reached as above; all of it, too, when only the lock cannot be
 * had. Returns 0, or -errno: -EPERM (no right to open the object:
 * CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, proc_pid_map_files(5)), -EOPNOTSUPP (device memory and the like).
 */
int inject_copy_on_write(struct inject *inject, const struct edit_piece *piece, int protection, uint64_t *reached);
