/* What of a process's memory a core file holds: what is nowhere else. */
#include "clone/core_choice.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/pages.h"

#define WINDOW 8192 /* pages */

/*
 * Whether the process has written to a page of a mapped file: it is then no page of the file any more. Returns 1, 0 or
 * -errno.
 */
static int was_written(const struct memory *memory, struct region region)
{
	_cleanup_free_ uint64_t *entries = malloc(WINDOW * sizeof(*entries));
	_cleanup_regions_ struct region_vec found = {0};
	int rc = entries ? memory_populated(memory, region, &found) : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < found.count; i++) {
		for (uint64_t at = found.items[i].start; rc == 0 && at < found.items[i].end;
		     at += WINDOW * page_size()) {
			size_t count = min_u64(WINDOW, (found.items[i].end - at) / page_size());

			rc = pagemap_read(memory->pagemap_fd, at, count, entries);
			for (size_t j = 0; rc == 0 && j < count; j++)
				if (entries[j] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED) && !(entries[j] & PAGEMAP_FILE))
					return 1;
		}
	}
	return rc;
}

/*
 * Where shared memory has pages, whoever made them: the copy's page tables do not tell, and reading a hole would fill
 * it.
 */
static int shared_pages(const struct memory *memory, const struct mapping *mapping, struct region_vec *found)
{
	char name[64];
	_cleanup_close_ int fd = -1;
	uint64_t start = mapping->region.start;

	snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, start, mapping->region.end);
	fd = target_proc_open(memory->target, name, O_RDONLY);
	if (fd < 0)
		return fd;
	while (start < mapping->region.end) {
		off_t shift = (off_t)mapping->offset - (off_t)mapping->region.start;
		off_t data = lseek(fd, (off_t)start + shift, SEEK_DATA);
		off_t hole = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
		struct region region;
		int rc;

		if (hole < 0)
			return errno == ENXIO ? 0 : -errno;
		region.start = round_down((uint64_t)(data - shift), page_size());
		region.end = min_u64(round_up((uint64_t)(hole - shift), page_size()), mapping->region.end);
		if (region.start >= region.end)
			return 0;
		rc = region_vec_push(found, region);
		if (rc < 0)
			return rc;
		start = region.end;
	}
	return 0;
}

static int choose_shared(const struct memory *memory, const struct mapping *mapping, uint64_t *bytes,
			 struct region_vec *found, uint64_t *unreadable)
{
	int rc = shared_pages(memory, mapping, found);

	if (rc == -ENOMEM || rc == -ESRCH)
		return rc;
	if (rc == 0 && !mapping->shared)
		rc = memory_populated(memory, mapping->region, found);
	if (rc < 0) {
		found->count = 0;
		*unreadable += region_bytes(mapping->region);
		return 0;
	}
	region_vec_normalize(found);
	*bytes = region_bytes(mapping->region);
	return 0;
}

/* A file's pages are in the file; its ELF header tells a debugger which file it was. */
static int choose_file(const struct memory *memory, const struct mapping *mapping, uint64_t *bytes,
		       struct region_vec *found)
{
	unsigned char magic[SELFMAG];
	int rc = mapping->shared ? 0 : was_written(memory, mapping->region);

	if (rc < 0)
		return rc;
	if (rc > 0)
		*bytes = region_bytes(mapping->region);
	else if (mapping->offset == 0 && mapping->read && !mapping->shared &&
		 memory_read(memory, mapping->region.start, magic, sizeof(magic)) == 0 &&
		 memcmp(magic, ELFMAG, SELFMAG) == 0)
		*bytes = page_size();
	return *bytes ? region_vec_push(found, (struct region){mapping->region.start, mapping->region.start + *bytes})
		      : 0;
}

int core_choose(const struct memory *memory, const struct memory_mapping *mapping, uint64_t *bytes,
		struct region_vec *found, uint64_t *unreadable)
{
	struct region region = mapping->is.region;

	*bytes = 0;
	found->count = 0;
	switch (mapping->is.kind) {
	case MAPPING_SPECIAL:
		if (strcmp(mapping->is.name, "[vdso]") != 0)
			return 0;
		*bytes = region_bytes(region);
		return region_vec_push(found, region);
	case MAPPING_SHMEM:
		return choose_shared(memory, &mapping->is, bytes, found, unreadable);
	case MAPPING_FILE:
		return choose_file(memory, &mapping->is, bytes, found);
	case MAPPING_HUGETLB:
		if (mapping->is.shared)
			return 0;
		break;
	default:
		break;
	}
	*bytes = region_bytes(region);
	return mapping->served ? region_vec_push(found, region) : memory_populated(memory, region, found);
}
