/* SPDX-License-Identifier: MIT */
/* A source by its name; and the file, the simplest one. */
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "source/parts.h"

struct file_source {
	struct source base;
	int fd;
};

static int file_read(struct source *source, uint64_t offset, void *to, size_t bytes)
{
	return fd_read_all(((struct file_source *)source)->fd, to, bytes, offset);
}

static void file_close(struct source *source)
{
	close(((struct file_source *)source)->fd);
	free(source);
}

static int file_open(struct source **source, int fd, uint64_t bytes)
{
	static const struct source_ops ops = {.kind = "file", .read = file_read, .close = file_close};
	struct file_source *file = malloc(sizeof(*file));

	if (!file)
		return -ENOMEM;
	*file = (struct file_source){.base = {&ops, bytes}, .fd = fd};
	*source = &file->base;
	return 0;
}

static const struct decoder *decoder_of(int fd)
{
	static const struct decoder *const decoders[] = {&decoder_zstd, &decoder_lz4, &decoder_gzip, NULL};
	unsigned char start[4];

	if (fd_read_all(fd, start, sizeof(start), 0) < 0)
		return NULL;
	for (size_t i = 0; decoders[i]; i++)
		if (memcmp(start, decoders[i]->magic, decoders[i]->magic_bytes) == 0)
			return decoders[i];
	return NULL;
}

/* Bytes of a regular file or a block device. Returns 0, -EINVAL for anything else, or -errno. */
static int size_of(int fd, uint64_t *bytes)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0)
		return -errno;
	*bytes = (uint64_t)stat.st_size;
	if (S_ISBLK(stat.st_mode))
		return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? -errno : 0;
	return S_ISREG(stat.st_mode) ? 0 : -EINVAL;
}

/* To the size that was asked for, of a source that has all of the file; beyond its last page there is nothing. */
static int limit_size(struct source **source, const char *path, const struct source_options *options,
		      struct error *error)
{
	uint64_t has = (*source)->bytes;

	if (!options->bytes)
		return 0;
	(*source)->bytes = min_u64(options->bytes, has);
	if (options->bytes <= round_up(has, page_size()))
		return 0;
	source_close(*source);
	*source = NULL;
	return error_set(error, -EINVAL, "there is less in it", "leave out --size for all of it",
			 "map %llu bytes of %s", (unsigned long long)options->bytes, path);
}

static int open_path(struct source **source, const char *path, const struct source_options *options,
		     struct error *error)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const struct decoder *decoder;
	uint64_t bytes = 0;
	int rc = fd < 0 ? -errno : size_of(fd, &bytes);

	if (rc < 0)
		return error_set(error, rc, rc == -EINVAL ? "it is not a regular file" : NULL,
				 rc == -EINVAL ? "what can only be read in order is given as pipe:COMMAND" : NULL,
				 "open %s", path);
	if (!bytes)
		return error_set(error, -EINVAL, "it is empty", NULL, "open %s", path);
	decoder = decoder_of(fd);
	if (!decoder)
		rc = file_open(source, fd, bytes);
	else if (decoder == &decoder_zstd)
		rc = source_frames_open(source, fd, options);
	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "open %s", path);
	if (*source) {
		fd = -1; /* it has it */
		return limit_size(source, path, options, error);
	}
	rc = source_stream_open(source, steal_fd(&fd), decoder, options, error);
	if (rc < 0 && error)
		snprintf(error->tried, sizeof(error->tried), "decompress %s", path);
	return rc;
}

static const char *text_after(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0 ? name + strlen(prefix) : NULL;
}

int source_open(struct source **source, const char *name, const struct source_options *options, struct error *error)
{
	const char *command;

	*source = NULL;
	command = text_after(name, "pipe:");
	if (command)
		return source_pipe_open(source, command, options, error);
	command = text_after(name, "exec:");
	if (command)
		return source_exec_open(source, command, options, error);
	return open_path(source, text_after(name, "file:") ? text_after(name, "file:") : name, options, error);
}

void source_close(struct source *source)
{
	if (source)
		source->ops->close(source);
}

int source_restart(struct source *source)
{
	return source->ops->restart ? source->ops->restart(source) : 0;
}

void source_reap(const struct source *source)
{
	if (source->ops->reap)
		source->ops->reap(source);
}

const char *source_kind(const struct source *source)
{
	return source->ops->kind;
}

uint64_t source_bytes(const struct source *source)
{
	return source->bytes;
}

bool source_runs_commands(const struct source *source)
{
	return source->ops->runs_commands;
}

int source_read(struct source *source, uint64_t offset, void *to, size_t bytes)
{
	return source->ops->read(source, offset, to, bytes);
}
