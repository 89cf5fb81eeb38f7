/* SPDX-License-Identifier: MIT */
/* Looking at a process's memory: its mappings, which pages are there, and what is in them. */
#include "clone/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "pages/pages.h"
#include "pages/scan.h"
#include "proc/smaps.h"
#include "puppet/copy.h"

#define WINDOW 8192 /* pages */

static int add_mapping(struct memory *memory, const struct mapping *mapping, const char *flags)
{
	if (array_reserve(&memory->mappings, memory->count, &memory->capacity) < 0)
		return -ENOMEM;
	memory->mappings[memory->count++] = (struct memory_mapping){
		.is = *mapping,
		.served = vm_flags_have(flags, "um ui"),
		.dontdump = vm_flags_have(flags, "dd"),
		.unforked = vm_flags_have(flags, "dc"),
	};
	return 0;
}

/*
 * A kernel without names for anonymous memory does not tell; and what is beside our data may have become one mapping
 * with it.
 */
static struct region own_pages(const struct memory *memory, const struct mapping *mapping)
{
	struct region own = region_at(mapping->region.start, INJECT_COPY_PAGES * page_size());
	unsigned char code[1024];

	if (mapping->kind != MAPPING_ANON || !mapping->execute || mapping->write ||
	    region_bytes(mapping->region) != page_size() || memory_read(memory, own.start, code, sizeof(code)) < 0 ||
	    !inject_copy_is_code(code, sizeof(code)))
		return (struct region){0, 0};
	return own;
}

static int read_mappings(struct memory *memory)
{
	struct region own = {0, 0};
	struct maps_reader smaps;
	struct mapping mapping;
	const char *flags;
	int rc = smaps_open(&smaps, memory->target);

	if (rc < 0)
		return rc;
	while ((rc = smaps_next(&smaps, &mapping, &flags)) > 0) {
		if (mapping_is_kernels(&mapping) || mapping_has_our_name(&mapping))
			continue;
		if (!own.end)
			own = own_pages(memory, &mapping);
		if (region_overlaps(own, mapping.region))
			mapping.region.start = min_u64(own.end, mapping.region.end);
		rc = mapping.region.start < mapping.region.end ? add_mapping(memory, &mapping, flags) : 0;
		if (rc < 0)
			break;
	}
	maps_close(&smaps);
	return rc;
}

int memory_open(struct memory *memory, const struct target *target)
{
	int rc;

	*memory = MEMORY_NONE;
	memory->target = target;
	memory->mem_fd = target_proc_open(target, "mem", O_RDONLY);
	memory->pagemap_fd = memory->mem_fd < 0 ? memory->mem_fd : target_proc_open(target, "pagemap", O_RDONLY);
	rc = memory->pagemap_fd < 0 ? memory->pagemap_fd : read_mappings(memory);
	if (rc < 0)
		memory_close(memory);
	return rc;
}

void memory_close(struct memory *memory)
{
	cleanup_close(&memory->mem_fd);
	cleanup_close(&memory->pagemap_fd);
	free(memory->mappings);
	*memory = MEMORY_NONE;
}

/* For kernels without PAGEMAP_SCAN. */
static int populated_by_pagemap(const struct memory *memory, struct region region, struct region_vec *found)
{
	_cleanup_free_ uint64_t *entries = malloc(WINDOW * sizeof(*entries));
	int rc = entries ? 0 : -ENOMEM;

	for (uint64_t at = region.start; rc == 0 && at < region.end; at += WINDOW * page_size()) {
		size_t count = min_u64(WINDOW, (region.end - at) / page_size());

		rc = pagemap_read(memory->pagemap_fd, at, count, entries);
		for (size_t i = 0; rc == 0 && i < count; i++) {
			uint64_t page = at + i * page_size();

			if (pagemap_populated(entries[i]) && !(entries[i] & PAGEMAP_GUARD))
				rc = region_vec_append(found, region_at(page, page_size()));
		}
	}
	return rc;
}

int memory_populated(const struct memory *memory, struct region region, struct region_vec *found)
{
	struct scan scan = {.pagemap_fd = memory->pagemap_fd, .left = region, .any = PAGE_IS_PRESENT | PAGE_IS_SWAPPED};
	int count;

	while ((count = scan_next(&scan)) > 0) {
		for (int i = 0; i < count; i++) {
			int rc = 0;

			if (!(scan.ranges[i].categories & PAGE_IS_GUARD))
				rc = region_vec_append(found,
						       (struct region){scan.ranges[i].start, scan.ranges[i].end});
			if (rc < 0)
				return rc;
		}
	}
	return count == -ENOTTY ? populated_by_pagemap(memory, region, found) : count;
}

/*
 * By process_vm_readv(2) only what /proc/PID/mem does not give (pages that a userfaultfd serves): that makes a copy of
 * each page that the process shares with another one after a fork, and a clone shares them all (mm/gup.c,
 * gup_must_unshare).
 */
int memory_read(const struct memory *memory, uint64_t address, void *to, size_t bytes)
{
	struct iovec here = {.iov_base = to, .iov_len = bytes};
	struct iovec there = {.iov_base = (void *)address, .iov_len = bytes};
	int rc = fd_read_all(memory->mem_fd, to, bytes, address);

	if (rc == 0 || process_vm_readv(memory->target->pid, &here, 1, &there, 1, 0) == (ssize_t)bytes)
		return 0;
	return rc == -ENODATA ? -ESRCH : rc;
}
