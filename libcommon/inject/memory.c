/* SPDX-License-Identifier: MIT */
/* Reading and writing the memory of a target. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/size.h"
#include "inject/area.h"

#define MEMORY_TRIES    20
#define MEMORY_AGAIN_US 500

/*
 * Reads into `to`, or writes `from` when there is none. The kernel takes a page to copy by (fs/proc/base.c, mem_rw),
 * and may find none.
 */
static int transfer_bytes(int mem_fd, uint64_t address, void *to, const void *from, size_t bytes)
{
	for (unsigned int tries = 1;; tries++) {
		int rc = to ? fd_read_all(mem_fd, to, bytes, address) : fd_write_all(mem_fd, from, bytes, address);

		if (rc != -ENOMEM || tries == MEMORY_TRIES)
			return rc == -ENODATA ? -EIO : rc;
		usleep(MEMORY_AGAIN_US);
	}
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
