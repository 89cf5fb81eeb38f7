/* SPDX-License-Identifier: MIT */
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
				if (pagemap_populated(entries[j]) && !(entries[j] & PAGEMAP_FILE))
					return 1;
		}
	}
	return rc;
}

/*
 * Where shared memory has pages, no matter which process made them: the copy's page tables do not tell, and reading a
 * hole would fill it.
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

static int choose_shmem(const struct memory *memory, const struct mapping *mapping, struct core_part *part)
{
	int rc = shared_pages(memory, mapping, &part->found);

	if (rc == -ENOMEM || rc == -ESRCH)
		return rc;
	if (rc == 0 && !mapping->shared)
		rc = memory_populated(memory, mapping->region, &part->found);
	if (rc < 0) {
		part->found.count = 0;
		part->unreadable += region_bytes(mapping->region);
		return 0;
	}
	region_vec_normalize(&part->found);
	part->bytes = region_bytes(mapping->region);
	return 0;
}

/* All of it, pages of a file too, which are brought in. */
static int choose_whole(const struct mapping *mapping, struct core_part *part)
{
	part->bytes = region_bytes(mapping->region);
	return region_vec_push(&part->found, mapping->region);
}

/* A debugger finds out by it which file it was. */
static int choose_elf_header(const struct memory *memory, const struct mapping *mapping, struct core_part *part)
{
	const uint64_t start = mapping->region.start;
	unsigned char magic[SELFMAG];

	if (mapping->offset || !mapping->read || mapping->shared ||
	    memory_read(memory, start, magic, sizeof(magic)) < 0 || memcmp(magic, ELFMAG, SELFMAG) != 0)
		return 0;
	part->bytes = page_size();
	return region_vec_push(&part->found, region_at(start, page_size()));
}

/* Pages that nobody wrote to are in the file. */
static int choose_file(const struct memory *memory, const struct mapping *mapping, unsigned int filter,
		       struct core_part *part)
{
	int rc = mapping->shared ? 0 : was_written(memory, mapping->region);

	if (rc < 0)
		return rc;
	if (filter & (mapping->shared ? CORE_FILE_SHARED : CORE_FILE_PRIVATE) || (rc && filter & CORE_ANON_PRIVATE))
		return choose_whole(mapping, part);
	if (rc)
		part->excluded += region_bytes(mapping->region);
	return filter & CORE_ELF_HEADERS ? choose_elf_header(memory, mapping, part) : 0;
}

static int choose_anon(const struct memory *memory, const struct memory_mapping *mapping, struct core_part *part)
{
	struct region region = mapping->is.region;

	part->bytes = region_bytes(region);
	return mapping->served || mapping->copy ? region_vec_push(&part->found, region)
						: memory_populated(memory, region, &part->found);
}

/* Shared memory that has a name in a file system is a file to the kernel (fs/coredump.c, vma_dump_size). */
static unsigned int kind_of(const struct mapping *mapping)
{
	const char *deleted = strstr(mapping->name, " (deleted)");
	bool has_name = !deleted || deleted[strlen(" (deleted)")];

	if (mapping->kind == MAPPING_HUGETLB)
		return mapping->shared ? CORE_HUGETLB_SHARED : CORE_HUGETLB_PRIVATE;
	if (mapping->kind == MAPPING_SHMEM && mapping->shared)
		return has_name ? CORE_FILE_SHARED : CORE_ANON_SHARED;
	return CORE_ANON_PRIVATE;
}

int core_choose(const struct memory *memory, const struct memory_mapping *mapping, unsigned int filter,
		struct core_part *part)
{
	const struct mapping *is = &mapping->is;

	part->bytes = 0;
	part->found.count = 0;
	if (is->kind == MAPPING_SPECIAL)
		return strcmp(is->name, "[vdso]") == 0 ? choose_whole(is, part) : 0;
	if (is->kind == MAPPING_FILE && (!mapping->dontdump || filter & CORE_DONTDUMP))
		return choose_file(memory, is, filter, part);
	if (!(filter & kind_of(is)) || (mapping->dontdump && !(filter & CORE_DONTDUMP))) {
		part->excluded += region_bytes(is->region);
		return 0;
	}
	if (is->kind == MAPPING_SHMEM)
		return choose_shmem(memory, is, part);
	return is->kind == MAPPING_HUGETLB && is->shared ? choose_whole(is, part) : choose_anon(memory, mapping, part);
}

unsigned int core_filter_of(const struct target *target)
{
	char text[32];

	if (target_file_read(target, "coredump_filter", text, sizeof(text)) <= 0)
		return CORE_USUAL;
	return (unsigned int)strtoul(text, NULL, 16) & 0xffff;
}
