/* SPDX-License-Identifier: MIT */
/* Lines out of a fixed buffer. */
#include "proc/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* What is kept of a line longer than the buffer: the numbers and as much of the name as a mapping holds. */
#define KEPT 1024

int lines_open(struct maps_reader *reader, const struct target *target, const char *name)
{
	reader->used = reader->at = 0;
	reader->fd = target_proc_open(target, name, O_RDONLY);
	return reader->fd < 0 ? reader->fd : 0;
}

int lines_next(struct maps_reader *reader, char **line)
{
	size_t searched = reader->at;

	for (;;) {
		char *newline = memchr(reader->buffer + searched, '\n', reader->used - searched);
		ssize_t got;

		if (newline) {
			*newline = '\0';
			*line = reader->buffer + reader->at;
			reader->at = (size_t)(newline - reader->buffer) + 1;
			return 1;
		}
		reader->used -= reader->at;
		memmove(reader->buffer, reader->buffer + reader->at, reader->used);
		reader->at = 0;
		if (reader->used == sizeof(reader->buffer))
			reader->used = KEPT;
		searched = reader->used;
		got = read(reader->fd, reader->buffer + reader->used, sizeof(reader->buffer) - reader->used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		reader->used += (size_t)got;
	}
}

void lines_back(struct maps_reader *reader, const char *line)
{
	reader->buffer[reader->at - 1] = '\n';
	reader->at = (size_t)(line - reader->buffer);
}

bool address_space_gone(int fd)
{
	ssize_t got;
	char byte;

	do
		got = pread(fd, &byte, 1, 0);
	while (got < 0 && errno == EINTR);
	return got == 0 || (got < 0 && errno == ESRCH);
}
