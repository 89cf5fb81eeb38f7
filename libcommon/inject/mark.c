/* SPDX-License-Identifier: MIT */
/* By what a control area is known: its mark, its mapping, its trampoline. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "inject/area.h"
#include "proc/maps.h"

static const char mark[] = "control area of uvmtools";

int inject_mark_area(struct inject *inject, uint64_t start)
{
	return inject_write(inject, start + AREA_MARK, mark, sizeof(mark));
}

/*
 * What a read that gave `rc` and not what it should says of the area. Only where nothing can be read, or something else
 * is, has it been mapped over. Reading where no memory is any more gives nothing (fs/proc/base.c, mem_rw).
 */
static int mapped_over(const struct inject *inject, int rc)
{
	char byte;
	ssize_t got;

	if (rc < 0 && rc != -EIO)
		return rc;
	got = pread(inject->mem_fd, &byte, sizeof(byte), (off_t)inject->area.start);
	if (got < 0 && errno != EIO)
		return -errno;
	return got == 0 ? -ESTALE : -EADDRINUSE;
}

static int check_bytes(const struct inject *inject, uint64_t address, const void *bytes, size_t count)
{
	char there[256];
	int rc = count <= sizeof(there) ? inject_peek(inject->mem_fd, address, there, count) : -E2BIG;

	return rc == 0 && memcmp(there, bytes, count) == 0 ? 0 : mapped_over(inject, rc);
}

int inject_check_trampoline(const struct inject *inject)
{
	size_t bytes;
	const unsigned char *code = arch_trampoline(&bytes);

	return check_bytes(inject, inject->area.start + AREA_DATA, code, bytes);
}

int inject_check_area(const struct inject *inject)
{
	struct mapping mapping;
	uint64_t start = inject->area.start;
	int rc = mapping_at(inject->maps_fd, start, &mapping);

	if (rc < 0 && rc != -ESRCH)
		return rc;
	if (rc <= 0 || mapping.region.start != start || mapping.region.end != start + AREA_DATA ||
	    mapping.kind != MAPPING_ANON || mapping.shared || !mapping.write)
		return mapped_over(inject, 0);
	rc = check_bytes(inject, start + AREA_MARK, mark, sizeof(mark));
	return rc < 0 ? rc : inject_check_trampoline(inject);
}

bool inject_is_trampoline(int mem_fd, uint64_t address)
{
	unsigned char there[256];
	size_t bytes;
	const unsigned char *code = arch_trampoline(&bytes);

	return bytes <= sizeof(there) && fd_read_all(mem_fd, there, bytes, address) == 0 &&
	       memcmp(there, code, bytes) == 0;
}
