/* SPDX-License-Identifier: MIT */
/*
 * Memory whose state is known: touch KIND PATTERN [BYTES [FILE]], then waits to be killed.
 * Prints "ready START END RESIDENT": the mapping in hexadecimal, and how many bytes of it were touched and not
 * discarded. KIND: anon, huge, locked, readonly, wipe, shared, memfd, private-file, shared-file. PATTERN: every, other,
 * one, none, discarded.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGN ((size_t)2 << 20)

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_file(const char *kind, const char *file, size_t bytes)
{
	int fd = -1;

	if (!strcmp(kind, "memfd"))
		fd = memfd_create("touched", 0);
	else if (strstr(kind, "file"))
		fd = open(file ? file : "touched", O_RDWR | O_CREAT | O_TRUNC, 0600);
	else
		return -1;
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		die("file");
	return fd;
}

/* Aligned to a superpage, with an unmapped page on both sides so that no neighbour joins the mapping. */
static char *map(const char *kind, const char *file, size_t bytes)
{
	int fd = open_file(kind, file, bytes);
	int shared = !strncmp(kind, "shared", 6) || !strcmp(kind, "memfd");
	int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);
	char *hole = mmap(NULL, bytes + 2 * ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = (char *)(((uintptr_t)hole + ALIGN) & ~(ALIGN - 1));

	if (hole == MAP_FAILED || mmap(at, bytes, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
		die("mmap");
	if (munmap(hole, (size_t)(at - hole)) || munmap(at + bytes, (size_t)(hole + bytes + 2 * ALIGN - at - bytes)))
		die("munmap");
	return at;
}

static void advise(const char *kind, char *at, size_t bytes)
{
	madvise(at, bytes, !strcmp(kind, "huge") ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (!strcmp(kind, "wipe") && madvise(at, bytes, MADV_WIPEONFORK))
		die("madvise");
}

static size_t touch(const char *pattern, char *at, size_t bytes, size_t page)
{
	size_t step = !strcmp(pattern, "other") ? 2 * page : page, touched = 0;

	if (!strcmp(pattern, "none"))
		return 0;
	if (!strcmp(pattern, "one"))
		at += bytes / 2 & ~(page - 1), bytes = page;
	for (size_t i = 0; i < bytes; i += step, touched += page)
		memset(at + i, (int)(i / page % 255) + 1, 64);
	if (strcmp(pattern, "discarded"))
		return touched;
	if (madvise(at, bytes, MADV_DONTNEED))
		die("madvise");
	return 0;
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 3 ? strtoull(argv[3], NULL, 0) : 2 * ALIGN, page = (size_t)sysconf(_SC_PAGESIZE), touched;
	char *at;

	if (argc < 3)
		return 2;
	at = map(argv[1], argc > 4 ? argv[4] : NULL, bytes);
	advise(argv[1], at, bytes);
	touched = touch(argv[2], at, bytes, page);
	if (!strcmp(argv[1], "locked") && mlock(at, bytes))
		die("mlock");
	if (!strcmp(argv[1], "readonly") && mprotect(at, bytes, PROT_READ))
		die("mprotect");
	printf("ready %lx %lx %zu\n", (unsigned long)at, (unsigned long)(at + bytes), touched);
	fflush(stdout);
	for (;;)
		pause();
}
