/* SPDX-License-Identifier: MIT */
/* Reading and writing the memory of a target. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "base/size.h"
#include "inject/area.h"

#define MEMORY_TRIES    20
#define MEMORY_AGAIN_US 500

/* The kernel takes a page to copy by (fs/proc/base.c, mem_rw), and may find none. */
static bool is_passing(unsigned int *tries)
{
	if (errno != ENOMEM || ++*tries == MEMORY_TRIES)
		return errno == EINTR;
	usleep(MEMORY_AGAIN_US);
	return true;
}

/* Reads into `to`, or writes `from` when there is none. */
static int transfer_bytes(int mem_fd, uint64_t address, char *to, const char *from, size_t bytes)
{
	unsigned int tries = 0;

	for (size_t done = 0; done < bytes;) {
		off_t at = (off_t)(address + done);
		ssize_t n =
			to ? pread(mem_fd, to + done, bytes - done, at) : pwrite(mem_fd, from + done, bytes - done, at);

		if (n < 0 && is_passing(&tries))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int inject_read(struct inject *inject, uint64_t address, void *to, size_t bytes)
{
	return transfer_bytes(inject->mem_fd, address, to, NULL, bytes);
}

int inject_peek(int mem_fd, uint64_t address, void *to, size_t bytes)
{
	return transfer_bytes(mem_fd, address, to, NULL, bytes);
}

int inject_write(struct inject *inject, uint64_t address, const void *from, size_t bytes)
{
	return transfer_bytes(inject->mem_fd, address, NULL, from, bytes);
}

int inject_write_code(struct inject *inject, uint64_t address, const unsigned char *code, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += sizeof(long)) {
		long word = 0;

		memcpy(&word, code + at, min_u64(sizeof(word), bytes - at));
		if (ptrace(PTRACE_POKETEXT, inject->tid, address + at, word) < 0)
			return -errno;
	}
	return 0;
}
