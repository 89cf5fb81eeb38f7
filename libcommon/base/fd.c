/* SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "base/text.h"

#define NUMBER_MOST 40  /* characters, with what stands before it */
#define FIELD_MOST  128 /* with the name of its field */

ssize_t fd_read_up_to(int fd, void *to, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t got = pread(fd, (char *)to + done, bytes - done, (off_t)(offset + done));

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		done += got > 0 ? (size_t)got : 0;
	}
	return (ssize_t)done;
}

int fd_read_all(int fd, void *to, size_t bytes, uint64_t offset)
{
	ssize_t got = fd_read_up_to(fd, to, bytes, offset);

	return got < 0 ? (int)got : (size_t)got < bytes ? -ENODATA : 0;
}

int fd_write_all(int fd, const void *from, size_t bytes, uint64_t offset)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t put = pwrite(fd, (const char *)from + done, bytes - done, (off_t)(offset + done));

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put == 0)
			return -ENODATA;
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

ssize_t fd_read_text(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t got = 1;

	while (got && used < size - 1) {
		got = read(fd, text + used, size - 1 - used);
		if (got < 0 && errno != EINTR) {
			*text = '\0';
			return -errno;
		}
		used += got > 0 ? (size_t)got : 0;
	}
	text[used] = '\0';
	return (ssize_t)used;
}

ssize_t fd_read_text_at(int directory, const char *name, char *text, size_t size)
{
	_cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);

	*text = '\0';
	return fd < 0 ? -errno : fd_read_text(fd, text, size);
}

static int parse_number(const char *text, int base, uint64_t *number)
{
	char *end;
	uint64_t parsed;

	errno = 0;
	parsed = strtoull(text, &end, base);
	if (errno || end == text)
		return -ENOENT;
	*number = parsed;
	return 0;
}

int fd_read_number_at(int directory, const char *name, int base, uint64_t *number)
{
	char text[32];
	ssize_t length = fd_read_text_at(directory, name, text, sizeof(text));

	return length < 0 ? (int)length : parse_number(text, base, number);
}

int fd_find_number(int fd, const char *field, int base, uint64_t *number)
{
	char text[4096] = "\n"; /* what is searched begins with the end of a line */
	size_t used = 1;

	for (;;) {
		ssize_t got = fd_read_text(fd, text + used, sizeof(text) - used);
		const char *lines = strchr(text, '\n');
		const char *value = lines ? text_field(lines + 1, field) : NULL;

		if (got < 0)
			return (int)got;
		if (value && (got == 0 || strlen(value) > NUMBER_MOST))
			return parse_number(value, base, number);
		if (got == 0)
			return -ENOENT;
		used += (size_t)got;
		if (used > FIELD_MOST) {
			memmove(text, text + used - FIELD_MOST, FIELD_MOST + 1);
			used = FIELD_MOST;
		}
	}
}

FILE *fd_stream(int fd)
{
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
	int code = fd < -1 ? -fd : errno;

	if (!stream && fd >= 0)
		close(fd);
	errno = code;
	return stream;
}

DIR *fd_directory(int fd)
{
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	int code = fd < -1 ? -fd : errno;

	if (!directory && fd >= 0)
		close(fd);
	errno = code;
	return directory;
}

/* Room for what travels beside a message. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(FD_MOST * sizeof(int))];
};

int fd_send(int socket, const struct iovec *parts, size_t count, int fd, int flags)
{
	union control control = {
		.header = {.cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = count};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(fd));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL | flags) < 0 ? -errno : 0;
}

ssize_t fd_receive(int socket, void *to, size_t bytes, int *fds, size_t most, int flags)
{
	struct iovec iov = {.iov_base = to, .iov_len = bytes};
	union control control = {0};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_LEN(most * sizeof(*fds))}; /* the kernel closes others */
	ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);

	for (size_t i = 0; i < most; i++)
		fds[i] = -1;
	if (got > 0 && message.msg_controllen >= CMSG_LEN(sizeof(*fds)) && control.header.cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(&control.header),
		       min_u64(control.header.cmsg_len - CMSG_LEN(0), most * sizeof(*fds)));
	return got < 0 ? -errno : got;
}

static int compare_numbers(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void fd_close_others(int *fds, size_t count)
{
	int next = 0;

	qsort(fds, count, sizeof(*fds), compare_numbers);
	for (size_t i = 0; i < count; i++) {
		if (fds[i] > next)
			close_range((unsigned int)next, (unsigned int)fds[i] - 1, 0);
		next = fds[i] < next ? next : fds[i] + 1;
	}
	close_range((unsigned int)next, ~0U, 0);
}
