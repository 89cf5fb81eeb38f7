/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own way out: pageout PID START END advises MADV_PAGEOUT from outside until the pages have left. Answers
 * one line of JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/pages.h"

#define ROUNDS 3 /* pages that the kernel was busy with are left behind by one call */
#define PIECE  GiB
#define BATCH  1024

static int resident_bytes(int pagemap, struct region region, uint64_t *bytes)
{
	uint64_t entries[BATCH];

	*bytes = 0;
	for (uint64_t at = region.start; at < region.end; at += BATCH * page_size()) {
		size_t count = min_u64(BATCH, (region.end - at) / page_size());
		int rc = pagemap_read(pagemap, at, count, entries);

		if (rc)
			return rc;
		for (size_t i = 0; i < count; i++)
			*bytes += entries[i] & PAGEMAP_PRESENT ? page_size() : 0;
	}
	return 0;
}

static int advise(int pidfd, struct region region)
{
	for (uint64_t at = region.start; at < region.end; at += PIECE) {
		struct iovec piece = {(void *)at, min_u64(PIECE, region.end - at)};

		if (syscall(SYS_process_madvise, pidfd, &piece, 1, MADV_PAGEOUT, 0) < 0)
			return -errno;
	}
	return 0;
}

/* Only the advice is timed, not the counting between. */
static int page_out(int pidfd, int pagemap, struct region region, uint64_t *time_us, uint64_t *left)
{
	const uint64_t enough = region_bytes(region) / 100;
	int rc = 0;

	for (int round = 0; !rc && round < ROUNDS; round++) {
		uint64_t start = now_us();

		rc = advise(pidfd, region);
		*time_us += now_us() - start;
		if (!rc)
			rc = resident_bytes(pagemap, region, left);
		if (enough >= *left)
			break;
	}
	return rc;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int pidfd = -1, pagemap = -1;
	uint64_t time_us = 0, before = 0, left = 0;
	struct region region;
	char path[64];
	int rc;

	if (argc != 4 || address_parse(argv[2], &region.start) || address_parse(argv[3], &region.end)) {
		fprintf(stderr, "usage: pageout PID START END\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%s/pagemap", argv[1]);
	pidfd = (int)syscall(SYS_pidfd_open, (pid_t)strtol(argv[1], NULL, 10), 0);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	rc = pidfd < 0 || pagemap < 0 ? -errno : resident_bytes(pagemap, region, &before);
	if (!rc)
		rc = page_out(pidfd, pagemap, region, &time_us, &left);
	if (rc) {
		fprintf(stderr, "pageout: %s\n", strerror(-rc));
		return 1;
	}
	printf("{\"bytes\":%" PRIu64 ",\"left_bytes\":%" PRIu64 ",\"time_us\":%" PRIu64 "}\n", before - left, left,
	       time_us);
	return 0;
}
