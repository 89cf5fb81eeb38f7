/* SPDX-License-Identifier: MIT */
/* A compressed file without random access: decompressed in order, as far as a reader has asked, and kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "source/parts.h"

#define IN_BYTES  (64 * 1024)
#define OUT_BYTES (256 * 1024)

struct stream {
	struct source base;
	struct source_ops ops; /* with the kind of the decoder */
	struct spool spool;
	const struct decoder *decoder;
	int fd;
	/* Under the spool's lock. */
	void *state;
	uint64_t produced;  /* bytes that came out so far */
	uint64_t in_offset; /* of the compressed file: what is behind the buffer */
	size_t in_at, in_used;
	bool between; /* frames: here the file may end */
	int ended;    /* -ENODATA at the end, -EBADMSG where it cannot go on; 0 */
	unsigned char in[IN_BYTES];
	unsigned char out[OUT_BYTES];
};

/* Returns 0, also at the end of the file (nothing is in the buffer then), or -errno. */
static int refill_input(struct stream *s)
{
	ssize_t n;

	if (s->in_at < s->in_used)
		return 0;
	n = fd_read_up_to(s->fd, s->in, sizeof(s->in), s->in_offset);
	if (n < 0)
		return (int)n;
	s->in_at = 0;
	s->in_used = (size_t)n;
	s->in_offset += (uint64_t)n;
	return 0;
}

/* What another process decompressed before is not written again. */
static int keep_output(struct stream *s, size_t made)
{
	uint64_t have = atomic_load(&s->spool.have);
	uint64_t end = s->produced + made;
	size_t skip = s->produced < have ? (size_t)min_u64(have - s->produced, made) : 0;
	int rc = fd_write_all(s->spool.fd, s->out + skip, made - skip, s->produced + skip);

	if (rc < 0)
		return rc;
	s->produced = end;
	if (end > have)
		atomic_store(&s->spool.have, end);
	return 0;
}

/* One piece more. Returns 0 or -errno; what cannot change any more stays in `ended`. */
static int decode_piece(struct stream *s)
{
	size_t used = 0;
	size_t made = 0;
	int rc = refill_input(s);

	if (rc < 0 || s->ended)
		return rc < 0 ? rc : s->ended;
	if (s->in_at == s->in_used && s->between)
		return s->ended = -ENODATA;
	rc = s->decoder->run(s->state, s->in + s->in_at, s->in_used - s->in_at, &used, s->out, sizeof(s->out), &made);
	if (rc < 0 || (!used && !made)) /* also a file that ends inside a frame */
		return s->ended = -EBADMSG;
	s->in_at += used;
	s->between = rc > 0;
	rc = keep_output(s, made);
	/* What came out is lost when it cannot be kept: from the start again, with the next reader. */
	return rc < 0 ? (s->ended = rc) : 0;
}

static int stream_read(struct source *source, uint64_t offset, void *to, size_t bytes)
{
	struct stream *s = (struct stream *)source;
	int rc = 0;

	if (atomic_load(&s->spool.have) < offset + bytes) {
		if (pthread_mutex_trylock(&s->spool.lock) != 0)
			return -EAGAIN;
		while (rc == 0 && atomic_load(&s->spool.have) < offset + bytes)
			rc = decode_piece(s);
		pthread_mutex_unlock(&s->spool.lock);
	}
	return rc < 0 ? rc : fd_read_all(s->spool.fd, to, bytes, offset);
}

static int begin_decoding(struct stream *s)
{
	s->state = s->decoder->make();
	s->produced = s->in_offset = 0;
	s->in_at = s->in_used = 0;
	s->between = false;
	s->ended = 0;
	return s->state ? 0 : -ENOMEM;
}

/* The decoder may have been in the middle of something: it is left alone. */
static int stream_restart(struct source *source)
{
	struct stream *s = (struct stream *)source;

	spool_restart(&s->spool);
	return begin_decoding(s);
}

static void stream_close(struct source *source)
{
	struct stream *s = (struct stream *)source;

	if (s->state)
		s->decoder->free(s->state);
	spool_close(&s->spool);
	close(s->fd);
	free(s);
}

/* Without a size it is found by decompressing everything. */
static int find_size(struct stream *s, const struct source_options *options, struct error *error)
{
	int rc = 0;

	s->base.bytes = options->bytes;
	while (!options->bytes && rc == 0 && s->produced <= options->keep)
		rc = decode_piece(s);
	if (rc == -ENODATA || rc == 0)
		s->base.bytes = options->bytes ? options->bytes : s->produced;
	else
		return error_set(error, rc, rc == -EBADMSG ? "it is damaged, or cut short" : NULL, NULL, "decompress");
	if (!s->base.bytes)
		return error_set(error, -EINVAL, "there is nothing in it", NULL, "decompress");
	if (s->base.bytes > options->keep)
		return error_set(error, -EFBIG, "it cannot be read by block, and all of it would have to be kept",
				 "allow that with --keep, or compress it in several zstd frames", "decompress");
	return 0;
}

int source_stream_open(struct source **source, int fd, const struct decoder *decoder,
		       const struct source_options *options, struct error *error)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc;

	if (!s) {
		close(fd);
		return error_set(error, -ENOMEM, NULL, NULL, "decompress");
	}
	s->ops = (struct source_ops){
		.kind = decoder->kind, .read = stream_read, .restart = stream_restart, .close = stream_close};
	s->base.ops = &s->ops;
	s->fd = fd;
	s->decoder = decoder;
	rc = spool_open(&s->spool);
	if (rc == 0)
		rc = begin_decoding(s);
	rc = rc < 0 ? error_set(error, rc, NULL, NULL, "decompress") : find_size(s, options, error);
	if (rc < 0)
		stream_close(&s->base);
	else
		*source = &s->base;
	return rc;
}
