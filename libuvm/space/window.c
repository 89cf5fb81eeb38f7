/* SPDX-License-Identifier: MIT */
/*
 * Windows: what a space at the process level says, as mappings of this process. A new mapping is made aside, watched if
 * it has to be, and then moved into place in one step, so that nobody sees a page that is neither the old one nor the
 * new one.
 */
#include "space/window.h"

#include <sys/mman.h>

#include "graph/resolve.h"
#include "graph/watch.h"
#include "uffd/uffd.h"

static void *as_pointer(uint64_t at)
{
	return (void *)at; /* NOLINT(performance-no-int-to-ptr) */
}

static int make_hole(struct region at)
{
	void *got = mmap(as_pointer(at.start), region_bytes(at), PROT_NONE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return got == MAP_FAILED ? UVM_MEM_NO_MEMORY : 0;
}

int window_reserve(struct uvm_space *space, uint64_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return UVM_MEM_NO_MEMORY;
	space->window = region_at((uintptr_t)at, bytes);
	watch_add_window(space);
	return 0;
}

void window_release(struct uvm_space *space)
{
	if (!region_bytes(space->window))
		return;
	watch_remove_window(space);
	munmap(as_pointer(space->window.start), region_bytes(space->window));
	window_wake(space, space->window);
}

static int protection_of(unsigned int access)
{
	return (access & UVM_ACCESS_READ ? PROT_READ : 0) | (access & UVM_ACCESS_WRITE ? PROT_WRITE : 0) |
	       (access & UVM_ACCESS_EXEC ? PROT_EXEC : 0);
}

/* Segments that one mapping can show: they differ only in whether they are watched. */
static size_t count_alike(const struct segment *segment, size_t most)
{
	size_t n = 1;

	while (n < most && segment[n].at.start == segment[n - 1].at.end && segment[n].leaf == segment->leaf &&
	       segment[n].access == segment->access &&
	       segment[n].offset - segment->offset == segment[n].at.start - segment->at.start)
		n++;
	return n;
}

static int watch_segments(const struct segment *segments, size_t count, uint64_t aside)
{
	uint64_t mode = segments->leaf->ops->missing ? UFFDIO_REGISTER_MODE_MISSING : 0;
	uint64_t shift = aside - segments->at.start;
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		if (segments[i].watched)
			mode |= UFFDIO_REGISTER_MODE_WP;
	if (mode)
		rc = uffd_register(watch_fd(), (struct region){aside, segments[count - 1].at.end + shift}, mode, NULL);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (segments[i].watched)
			rc = uffd_writeprotect(
				watch_fd(), (struct region){segments[i].at.start + shift, segments[i].at.end + shift},
				true);
	return rc;
}

static uint64_t bytes_of(const struct segment *segments, size_t count)
{
	return segments[count - 1].at.end - segments->at.start;
}

/*
 * A child that is forked has no part in it: nobody would serve its faults. Out of reach until it is watched, for a
 * program that locks all its memory (mlockall(2), MCL_FUTURE) would find the missing pages of a cache made with it.
 */
static int make_aside(struct segment *segments, size_t count)
{
	const struct mappable_ops *ops = segments->leaf->ops;
	uint64_t bytes = bytes_of(segments, count);
	int rc = ops->begin_writing && segments->access & UVM_ACCESS_WRITE ? ops->begin_writing(segments->leaf) : 0;
	void *aside;

	if (rc < 0)
		return rc;
	aside = mmap(NULL, bytes, PROT_NONE, MAP_SHARED, segments->leaf->fd,
		     (off_t)(segments->leaf->base + segments->offset));

	if (aside == MAP_FAILED)
		return UVM_MEM_NO_MEMORY;
	segments->aside = aside;
	if (madvise(aside, bytes, MADV_DONTFORK) < 0 || watch_segments(segments, count, (uintptr_t)aside) < 0 ||
	    mprotect(aside, bytes, protection_of(segments->access)) < 0)
		return UVM_MEM_NO_MEMORY;
	return 0;
}

static int make_all_aside(struct segment_vec *vec)
{
	int rc = 0;

	for (size_t i = 0, n; rc == 0 && i < vec->count; i += n) {
		n = count_alike(vec->items + i, vec->count - i);
		if (vec->items[i].access)
			rc = make_aside(vec->items + i, n);
	}
	return rc;
}

static void drop_aside(struct segment_vec *vec)
{
	for (size_t i = 0, n; i < vec->count; i += n) {
		n = count_alike(vec->items + i, vec->count - i);
		if (vec->items[i].aside)
			munmap(vec->items[i].aside, bytes_of(vec->items + i, n));
	}
}

static int move_in(struct segment *segments, size_t count)
{
	uint64_t bytes = bytes_of(segments, count);

	if (!segments->aside)
		return make_hole(region_at(segments->at.start, bytes));
	if (mremap(segments->aside, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, as_pointer(segments->at.start)) ==
	    MAP_FAILED)
		return UVM_MEM_NO_MEMORY;
	segments->aside = NULL;
	return 0;
}

static int move_all_in(struct segment_vec *vec, struct region region)
{
	uint64_t at = region.start;
	int rc = 0;

	for (size_t i = 0, n; rc == 0 && i < vec->count; i += n) {
		n = count_alike(vec->items + i, vec->count - i);
		if (at < vec->items[i].at.start)
			rc = make_hole((struct region){at, vec->items[i].at.start});
		at = vec->items[i + n - 1].at.end;
		if (rc == 0)
			rc = move_in(vec->items + i, n);
	}
	if (rc == 0 && at < region.end)
		rc = make_hole((struct region){at, region.end});
	if (rc < 0)
		make_hole(region);
	return rc;
}

static int resolve_window(struct uvm_space *space, struct region region, struct segment_vec *vec)
{
	return resolve(&space->mappable, (struct view){.range = region, .to = region.start, .access = ALL_ACCESS}, vec);
}

/* Fails before anything has changed, unless even moving what is there already fails. */
static int update_window(struct uvm_space *space, struct region region)
{
	_cleanup_segments_ struct segment_vec vec = {0};
	int rc = resolve_window(space, region, &vec);

	if (rc == 0)
		rc = make_all_aside(&vec);
	if (rc == 0)
		rc = move_all_in(&vec, region);
	drop_aside(&vec);
	return rc;
}

int window_try(struct uvm_space *space, struct region region)
{
	int rc = update_window(space, region);

	window_wake(space, region);
	return rc;
}

/* What cannot be brought up to date is out of reach: better a fault than bytes that are no longer true. */
int window_remap(struct uvm_space *space, struct region region)
{
	int rc = update_window(space, region);

	if (rc < 0)
		make_hole(region);
	return rc;
}

int window_show(struct uvm_space *space, struct region region)
{
	int rc = window_remap(space, region);

	window_wake(space, region);
	return rc;
}

int window_hide(struct uvm_space *space, struct region region)
{
	int rc = make_hole(region);

	window_wake(space, region);
	return rc;
}

int window_permit(struct uvm_space *space, struct region region)
{
	_cleanup_segments_ struct segment_vec vec = {0};
	int rc = resolve_window(space, region, &vec);

	if (rc == 0 && vec.count == 1 && !vec.items->watched && vec.items->access & UVM_ACCESS_WRITE &&
	    uffd_writeprotect(watch_fd(), region, false) == 0)
		return 0;
	return window_show(space, region);
}

int window_wake(struct uvm_space *space, struct region region)
{
	(void)space;
	if (watch_fd() >= 0)
		uffd_wake(watch_fd(), region);
	return 0;
}
