/* SPDX-License-Identifier: MIT */
/*
 * A zstd file of several frames whose sizes are known (pzstd, the seekable format, files joined by cat): decompressed
 * by frame.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "source/parts.h"

#define FRAME_MAX (64 * MiB)
#define LOCKS     16

struct frame {
	uint64_t offset, size;       /* of the object */
	uint64_t in_offset, in_size; /* of the file */
};

struct frames {
	struct source base;
	int fd;
	struct spool spool;           /* sparse: the frames that are `done`; unused when `transient` */
	bool transient;               /* more than may be kept: decompressed again each time */
	_Atomic(bool) *done;          /* a frame each */
	pthread_mutex_t locks[LOCKS]; /* who decompresses; a frame has one of them */
	struct frame *frames;
	size_t count, size;
};

static int compare_frame(const void *key, const void *item)
{
	uint64_t offset = *(const uint64_t *)key;
	const struct frame *frame = item;

	return offset < frame->offset ? -1 : offset >= frame->offset + frame->size;
}

/* Returns 0 or -errno. The caller frees *out. */
static int decompress_frame(const struct frames *f, const struct frame *frame, void **out)
{
	_cleanup_free_ void *in = malloc(frame->in_size);
	size_t made;
	int rc;

	*out = malloc(frame->size);
	if (!in || !*out)
		return -ENOMEM;
	rc = fd_read_all(f->fd, in, frame->in_size, frame->in_offset);
	if (rc < 0)
		return rc;
	made = ZSTD_decompress(*out, frame->size, in, frame->in_size);
	return ZSTD_isError(made) || made != frame->size ? -EBADMSG : 0;
}

/* `bytes` from `at` bytes behind the start of a frame. */
static int read_frame(struct frames *f, size_t number, uint64_t at, void *to, size_t bytes)
{
	const struct frame *frame = &f->frames[number];
	pthread_mutex_t *lock = &f->locks[number % LOCKS];
	_cleanup_free_ void *out = NULL;
	int rc;

	if (!f->transient && atomic_load(&f->done[number]))
		return fd_read_all(f->spool.fd, to, bytes, frame->offset + at);
	if (pthread_mutex_trylock(lock) != 0)
		return -EAGAIN;
	rc = decompress_frame(f, frame, &out);
	if (rc == 0) {
		memcpy(to, (char *)out + at, bytes);
		if (!f->transient && fd_write_all(f->spool.fd, out, frame->size, frame->offset) == 0)
			atomic_store(&f->done[number], true);
	}
	pthread_mutex_unlock(lock);
	return rc;
}

static int frames_read(struct source *source, uint64_t offset, void *to, size_t bytes)
{
	struct frames *f = (struct frames *)source;

	while (bytes) {
		const struct frame *frame = bsearch(&offset, f->frames, f->count, sizeof(*frame), compare_frame);
		size_t part;
		int rc;

		if (!frame)
			return -ENODATA;
		part = (size_t)min_u64(bytes, frame->offset + frame->size - offset);
		rc = read_frame(f, (size_t)(frame - f->frames), offset - frame->offset, to, part);
		if (rc < 0)
			return rc;
		to = (char *)to + part;
		offset += part;
		bytes -= part;
	}
	return 0;
}

static int frames_restart(struct source *source)
{
	struct frames *f = (struct frames *)source;

	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&f->locks[i], NULL);
	return 0;
}

static void frames_close(struct source *source)
{
	struct frames *f = (struct frames *)source;

	cleanup_close(&f->fd);
	spool_close(&f->spool);
	free(f->frames);
	free(f->done);
	free(f);
}

static int add_frame(struct frames *f, struct frame frame)
{
	if (array_reserve(&f->frames, f->count, &f->size) < 0)
		return -ENOMEM;
	f->frames[f->count++] = frame;
	f->base.bytes = frame.offset + frame.size;
	return 0;
}

/* Returns 1 when the file can be read by frame, 0, or -ENOMEM. */
static int find_frames(struct frames *f, const unsigned char *file, size_t bytes)
{
	uint64_t at = 0;

	while (at < bytes) {
		size_t in_size = ZSTD_findFrameCompressedSize(file + at, bytes - at);
		unsigned long long size = ZSTD_getFrameContentSize(file + at, bytes - at);

		if (ZSTD_isError(in_size) || size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
		    size > FRAME_MAX)
			return 0;
		if (size &&
		    add_frame(f, (struct frame){f->base.bytes, size, at, in_size}) < 0) /* none: a skippable one */
			return -ENOMEM;
		at += in_size;
	}
	return f->count > 1;
}

static int inspect_file(struct frames *f, int fd)
{
	struct stat stat;
	void *file;
	int rc;

	if (fstat(fd, &stat) < 0 || !stat.st_size)
		return 0;
	file = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		return 0;
	rc = find_frames(f, file, (size_t)stat.st_size);
	munmap(file, (size_t)stat.st_size);
	return rc;
}

int source_frames_open(struct source **source, int fd, const struct source_options *options)
{
	static const struct source_ops ops = {
		.kind = "zstd", .read = frames_read, .restart = frames_restart, .close = frames_close};
	struct frames *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return -ENOMEM;
	f->base.ops = &ops;
	f->fd = f->spool.fd = -1;
	rc = inspect_file(f, fd);
	f->transient = f->base.bytes > options->keep;
	if (rc > 0) {
		f->done = calloc(f->count, sizeof(*f->done));
		rc = f->done ? spool_open(&f->spool) : -ENOMEM;
		rc = rc < 0 ? rc : 1;
	}
	if (rc <= 0) {
		frames_close(&f->base);
		return rc;
	}
	frames_restart(&f->base);
	f->fd = fd;
	*source = &f->base;
	return 0;
}
