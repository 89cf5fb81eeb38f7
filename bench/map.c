/* SPDX-License-Identifier: MIT */
/*
 * A program that touches each page of a file once: map FILE prints "ready" and obeys, a line each, with an answer in
 * JSON: file (a fresh mapping of the file), at START (memory that shows the file), verify START.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/size.h"

static volatile unsigned char sink;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void touch(const unsigned char *at, size_t bytes)
{
	uint64_t since = now_ns();

	for (size_t i = 0; i < bytes; i += page_size())
		sink = at[i];
	printf("{\"time_us\":%" PRIu64 "}\n", (now_ns() - since) / 1000);
}

static int obey(const char *line, int fd, size_t bytes)
{
	const unsigned char *file = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	uint64_t start = 0;

	if (file == MAP_FAILED)
		return EXIT_FAILURE;
	if (strncmp(line, "at ", 3) == 0 && address_parse(line + 3, &start) == 0)
		touch((const unsigned char *)(uintptr_t)start, bytes);
	else if (strncmp(line, "verify ", 7) == 0 && address_parse(line + 7, &start) == 0)
		printf("{\"wrong\":%d}\n", memcmp((const void *)(uintptr_t)start, file, bytes) != 0);
	else
		touch(file, bytes);
	munmap((void *)file, bytes);
	fflush(stdout);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct stat stat;
	char line[256];
	int rc = EXIT_SUCCESS;

	if (fd < 0 || fstat(fd, &stat) < 0)
		return EXIT_FAILURE;
	puts("ready");
	fflush(stdout);
	while (rc == EXIT_SUCCESS && fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		rc = obey(line, fd, (size_t)stat.st_size);
	}
	return rc;
}
