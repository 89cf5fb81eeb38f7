/* SPDX-License-Identifier: MIT */
/* The memory of a process that serves others: locked, and no more of it than serving takes. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "service/service.h"

#define STACK_NEAR 4096 /* of the stack, which is used again at once */
#define ENTRIES    512  /* of pagemap, read at once */

static bool locked;

void service_lock_memory(void)
{
	locked = mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

/* Locked or not; not locked before Linux 5.18. */
static void give_back(void *start, uint64_t bytes)
{
	if (madvise(start, bytes, MADV_DONTNEED_LOCKED) < 0)
		madvise(start, bytes, MADV_DONTNEED);
}

void service_shrink_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	pthread_attr_t attributes;
	void *start = NULL;
	size_t bytes = 0;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return;
	pthread_attr_getstack(&attributes, &start, &bytes);
	pthread_attr_destroy(&attributes);
	if (here - (uintptr_t)start < bytes && here - (uintptr_t)start > STACK_NEAR)
		give_back(start, round_down(here - (uintptr_t)start - STACK_NEAR, page_size()));
}

/* malloc_trim(3) gives back no page of a heap that is locked (madvise(2), MADV_DONTNEED). */
static void shrink_heap(int maps)
{
	struct region heap = {0, (uintptr_t)sbrk(0)};
	struct mapping mapping = {0};

	while (locked && !heap.start && mapping_at_or_after(maps, mapping.region.end, &mapping) > 0)
		if (strcmp(mapping.name, "[heap]") == 0)
			heap.start = mapping.region.start;
	if (heap.start)
		munlock((void *)heap.start, region_bytes(heap));
	malloc_trim(0);
	heap.end = (uintptr_t)sbrk(0);
	if (heap.start)
		syscall(SYS_mlock2, heap.start, region_bytes(heap), MLOCK_ONFAULT);
}

/* Only what is the file's own page: what the loader has relocated is not there to be read again. */
static void shrink_mapping(int pagemap, struct region region)
{
	uint64_t entries[ENTRIES];

	for (uint64_t at = region.start; at < region.end; at += ENTRIES * page_size()) {
		size_t count = min_u64(ENTRIES, (region.end - at) / page_size());

		if (pagemap_read(pagemap, at, count, entries) < 0)
			return;
		for (size_t i = 0; i < count; i++)
			if (entries[i] & PAGEMAP_FILE)
				give_back((void *)(at + i * page_size()), page_size());
	}
}

/* Code and constants of files. */
static void shrink_files(int maps)
{
	_cleanup_close_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct mapping mapping = {0};

	while (pagemap >= 0 && mapping_at_or_after(maps, mapping.region.end, &mapping) > 0)
		if (mapping.kind == MAPPING_FILE && !mapping.write && !mapping.shared)
			shrink_mapping(pagemap, mapping.region);
}

void service_shrink(void)
{
	_cleanup_close_ int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	service_shrink_stack();
	if (maps < 0)
		return;
	shrink_heap(maps);
	shrink_files(maps);
}
