/* SPDX-License-Identifier: MIT */
/*
 * The copy is made in a helper child: pages that are out come back when a server fills them, and a process without one
 * must not stand still for ever.
 */
#include "clone/kept.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"

#define COPY_MS 5000 /* for which the process may stand still for it */
#define CHUNK   MiB

static bool is_wanted(const struct memory_mapping *mapping, struct region except)
{
	const struct mapping *is = &mapping->is;

	return mapping->unforked && is->kind == MAPPING_ANON && !is->shared && (is->read || is->write || is->execute) &&
	       !region_overlaps(is->region, except);
}

static int choose_mappings(struct kept_memory *kept, const struct memory *memory, struct region except)
{
	kept->mappings = calloc(memory->count + 1, sizeof(*kept->mappings));
	if (!kept->mappings)
		return -ENOMEM;
	for (size_t i = 0; i < memory->count; i++) {
		if (!is_wanted(&memory->mappings[i], except))
			continue;
		kept->mappings[kept->count++] = memory->mappings[i];
		kept->bytes += region_bytes(memory->mappings[i].is.region);
	}
	return 0;
}

/* Zeros are there already, and take no memory as long as nobody writes them. */
static void copy_nonzero(unsigned char *to, const unsigned char *from, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += page_size())
		if (from[at] || memcmp(from + at, from + at + 1, page_size() - 1) != 0)
			memcpy(to + at, from + at, page_size());
}

/* Returns how many bytes could not be read. */
static uint64_t copy_region(const struct memory *memory, struct region region, unsigned char *to)
{
	static _Alignas(4096) unsigned char buffer[CHUNK];
	uint64_t unreadable = 0;
	size_t step;

	for (uint64_t at = region.start; at < region.end; at += step, to += step) {
		step = min_u64(CHUNK, region.end - at);
		if (memory_read(memory, at, buffer, step) < 0) {
			step = page_size();
			if (memory_read(memory, at, buffer, step) < 0) {
				unreadable += step;
				continue;
			}
		}
		copy_nonzero(to, buffer, step);
	}
	return unreadable;
}

static int copy_mapping(const struct memory *memory, const struct memory_mapping *mapping, uint64_t *unreadable)
{
	_cleanup_regions_ struct region_vec there = {0};
	struct region all = mapping->is.region;
	int rc = mapping->served ? region_vec_push(&there, all) : memory_populated(memory, all, &there);

	for (size_t i = 0; rc == 0 && i < there.count; i++)
		*unreadable += copy_region(memory, there.items[i],
					   (unsigned char *)mapping->copy + (there.items[i].start - all.start));
	return rc;
}

static void copy_all(const struct kept_memory *kept, const struct memory *memory, uint64_t *unreadable)
{
	int rc = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; rc == 0 && i < kept->count; i++)
		rc = copy_mapping(memory, &kept->mappings[i], unreadable);
	_exit(rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Whether the helper child has done its work in time. */
static bool has_done(pid_t pid)
{
	_cleanup_close_ int fd = pidfd_of(pid);
	int status = 0;

	if (fd < 0 || !pidfd_ends(fd, COPY_MS))
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

static bool copy_memory(struct kept_memory *kept, const struct memory *memory)
{
	unsigned char *to;
	uint64_t *unreadable;
	pid_t pid;

	/* Behind the copies the child says what it could not read. */
	kept->copy = mmap(NULL, kept->bytes + page_size(), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (kept->copy == MAP_FAILED) {
		kept->copy = NULL;
		return false;
	}
	to = kept->copy;
	for (size_t i = 0; i < kept->count; i++) {
		kept->mappings[i].copy = to;
		to += region_bytes(kept->mappings[i].is.region);
	}
	unreadable = (uint64_t *)to;
	pid = fork();
	if (pid == 0)
		copy_all(kept, memory, unreadable);
	if (pid < 0 || !has_done(pid))
		return false;
	kept->unreadable = *unreadable;
	return true;
}

void kept_take(struct kept_memory *kept, const struct target *target, struct region except)
{
	_cleanup_memory_ struct memory memory = MEMORY_NONE;

	*kept = (struct kept_memory){0};
	if (memory_open(&memory, target) < 0 || choose_mappings(kept, &memory, except) < 0 ||
	    (kept->count && !copy_memory(kept, &memory)))
		kept_free(kept);
}

void kept_free(struct kept_memory *kept)
{
	if (kept->copy)
		munmap(kept->copy, kept->bytes + page_size());
	free(kept->mappings);
	*kept = (struct kept_memory){0};
}

static int by_address(const void *a, const void *b)
{
	const struct memory_mapping *x = a;
	const struct memory_mapping *y = b;

	return x->is.region.start < y->is.region.start ? -1 : x->is.region.start > y->is.region.start;
}

int kept_add(const struct kept_memory *kept, struct memory *clone)
{
	struct memory_mapping *all;

	if (!kept->count)
		return 0;
	all = reallocarray(clone->mappings, clone->count + kept->count, sizeof(*all));
	if (!all)
		return -ENOMEM;
	memcpy(all + clone->count, kept->mappings, kept->count * sizeof(*all));
	clone->mappings = all;
	clone->capacity = clone->count += kept->count;
	qsort(all, clone->count, sizeof(*all), by_address);
	return 0;
}
