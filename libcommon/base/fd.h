/* SPDX-License-Identifier: MIT */
/* Reading and writing all that was asked for, small files as text, and descriptors that travel over Unix sockets. */
#pragma once

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Reads at an offset, less than `bytes` only at the end of the file. Returns how many, or -errno. */
ssize_t fd_read_up_to(int fd, void *to, size_t bytes, uint64_t offset);

/* Read and write all the bytes at an offset. Return 0, -ENODATA when the file ends before, or -errno. */
int fd_read_all(int fd, void *to, size_t bytes, uint64_t offset);
int fd_write_all(int fd, const void *from, size_t bytes, uint64_t offset);

/*
 * Reads from the descriptor's position to the end of the file, or as much as text[size] holds with its terminator.
 * Returns the length, or -errno and an empty text.
 */
ssize_t fd_read_text(int fd, char *text, size_t size);

/* The same of a file below a directory (or AT_FDCWD). */
ssize_t fd_read_text_at(int directory, const char *name, char *text, size_t size);

/* The number that such a file begins with. Returns 0, -ENOENT when it begins with none, or -errno. */
int fd_read_number_at(int directory, const char *name, int base, uint64_t *number);

/*
 * Reads from the descriptor's position to the line "FIELD: NUMBER" (as /proc has them), however long the lines before
 * it are. Returns 0, -ENOENT without such a line or number, or -errno.
 */
int fd_find_number(int fd, const char *field, int base, uint64_t *number);

/*
 * A stream to read from, and a directory. They take the descriptor, which may be a -errno instead. NULL, with errno
 * set, when they cannot be had.
 */
FILE *fd_stream(int fd);
DIR *fd_directory(int fd);

#define FD_MOST 4 /* descriptors in one message */

/*
 * Sends one message of `count` parts over a Unix socket, and a descriptor with it when fd >= 0. `flags` as in
 * sendmsg(2); there is never a SIGPIPE. Returns 0 or -errno.
 */
int fd_send(int socket, const struct iovec *parts, size_t count, int fd, int flags);

/*
 * Receives one message, and the descriptors that came with it, `most` (FD_MOST at most) of them, close-on-exec; the
 * others are -1. `flags` as in recvmsg(2). Returns the bytes, 0 when the other side has closed, or -errno.
 */
ssize_t fd_receive(int socket, void *to, size_t bytes, int *fds, size_t most, int flags);

/* Closes all descriptors of the process but `count` of them, which are sorted for it. */
void fd_close_others(int *fds, size_t count);
