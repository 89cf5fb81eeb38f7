/* SPDX-License-Identifier: MIT */
/* What the sources share. Internal to the room. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "source/source.h"

struct source_ops {
	const char *kind;
	bool runs_commands;
	int (*read)(struct source *source, uint64_t offset, void *to, size_t bytes);
	int (*restart)(struct source *source);     /* NULL: nothing to do */
	void (*reap)(const struct source *source); /* NULL: no command runs along with it */
	void (*close)(struct source *source);      /* frees it */
};

struct source {
	const struct source_ops *ops;
	uint64_t bytes;
};

/*
 * What was read or decompressed once, in memory that outlives the process that did it: from the start of the object
 * without a hole. `lock` is held by the thread that reads on.
 */
struct spool {
	int fd;
	_Atomic(uint64_t) have;
	pthread_mutex_t lock;
};

/* Returns 0 or -errno. */
int spool_open(struct spool *spool);
void spool_close(struct spool *spool);

/* In a process that takes over: what is there is there. */
void spool_restart(struct spool *spool);

/* Take the descriptor, where there is one. Return 0 or -errno; with *source NULL: to be read in another way. */
int source_frames_open(struct source **source, int fd, const struct source_options *options);
int source_pipe_open(struct source **source, const char *command, const struct source_options *options,
		     struct error *error);
int source_exec_open(struct source **source, const char *command, const struct source_options *options,
		     struct error *error);

/* How a format is decompressed, a piece at a time. */
struct decoder {
	const char *kind;
	unsigned char magic[4];
	unsigned int magic_bytes;
	void *(*make)(void);
	void (*free)(void *state);
	/*
	 * Takes *used of the input, makes *made of the output. Returns 1 when what it took ends a frame, 0, or
	 * -EBADMSG.
	 */
	int (*run)(void *state, const void *in, size_t in_size, size_t *used, void *out, size_t out_size, size_t *made);
};

extern const struct decoder decoder_zstd, decoder_lz4, decoder_gzip;

/* What a descriptor yields, decompressed. Closes it also on failure. */
int source_stream_open(struct source **source, int fd, const struct decoder *decoder,
		       const struct source_options *options, struct error *error);
