/* SPDX-License-Identifier: MIT */
/* Where the bytes of a lazily filled object come from: a file, a compressed file, a command. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "report/error.h"

struct source;

struct source_options {
	uint64_t bytes;          /* of the object; 0: as many as the source has */
	uint64_t keep;           /* how many bytes of what cannot be read twice are kept, at most */
	unsigned int timeout_ms; /* for which a command may print nothing; 0: for ever */
};

/*
 * Opens a source by its name: a path ("file:PATH" for one that looks like something else; zstd, lz4 and gzip are known
 * by their first bytes), "pipe:COMMAND" (what sh -c COMMAND prints, read in order as far as it is needed) or
 * "exec:COMMAND" (run for each block, with UVM_OFFSET and UVM_LENGTH in its environment). The command of a pipe is
 * started here, as a child of the caller. Returns 0, or -errno with `error` filled: -EINVAL (not a regular file, empty,
 * a size that is not known and was not given), -EFBIG (more than may be kept), -EBADMSG (not decompressed), or why it
 * cannot be opened. The caller closes it.
 */
int source_open(struct source **source, const char *name, const struct source_options *options, struct error *error);
void source_close(struct source *source);

/*
 * In a process made by fork(2) from one that was using it: whatever another thread was in the middle of is forgotten.
 * Returns 0 or -ENOMEM.
 */
int source_restart(struct source *source);

/* After SIGCHLD in the process that opened it: its command may have ended. */
void source_reap(const struct source *source);

/* What it is: "file", "zstd", "lz4", "gzip", "pipe" or "exec". */
const char *source_kind(const struct source *source);

/* Bytes of the object. */
uint64_t source_bytes(const struct source *source);

/* Whether a command is run for each block, as a child of the reader. */
bool source_runs_commands(const struct source *source);

/*
 * Reads exactly `bytes` bytes. Thread safe; may wait for a disk or a command. Returns 0, -EAGAIN when another thread is
 * reading on where this one would have to (try again soon), -ENODATA behind the end of the data, -EBADMSG when it
 * cannot be decompressed, -ETIMEDOUT, or another -errno.
 */
int source_read(struct source *source, uint64_t offset, void *to, size_t bytes);
