/* SPDX-License-Identifier: MIT */
/*
 * mmap, munmap, mprotect and what belongs to them, made by a thread of the target. A file is mapped by a puppet: the
 * descriptor is in no table that the target's children get a copy of.
 */
#include "edit/change.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/area.h"
#include "puppet/fd.h"
#include "puppet/puppet.h"

#define UNMAP_TRIES   10
#define HELD_US       500        /* after which a thread is let go between two calls */
#define POPULATE_STEP (4 * MiB)  /* about a millisecond of faults */
#define CHANGE_STEP   (16 * MiB) /* about a millisecond of page table entries */

/* Old headers lack them (Linux 5.14). */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* A thread to make the next call on. */
static int hold_thread(struct inject *inject, struct error *error)
{
	if (inject->tid && inject_held_us(inject) < HELD_US)
		return 0;
	if (inject->tid)
		inject_end(inject);
	return inject_begin(inject, error);
}

static void let_go(struct inject *inject)
{
	if (inject->tid)
		inject_end(inject);
}

static int map_flags(const struct map_request *request)
{
	int flags = request->shared ? MAP_SHARED : MAP_PRIVATE;

	if (request->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (request->fixed)
		flags |= request->replace ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	return flags;
}

/* More than is asked for, and the ends off again. */
static int64_t map_aligned(struct inject *inject, const struct map_request *request, int flags)
{
	uint64_t room = request->bytes + request->align - page_size(), at;
	int64_t hole =
		inject_call(inject, SYS_mmap, 0, room, (uint64_t)request->protection, (uint64_t)flags, (uint64_t)-1, 0);
	int64_t rc;

	if (inject_failed(hole))
		return hole;
	at = round_up((uint64_t)hole, request->align);
	rc = inject_unmap(inject, (struct region){(uint64_t)hole, at});
	if (rc == 0)
		rc = inject_unmap(inject, (struct region){at + request->bytes, (uint64_t)hole + room});
	return rc < 0 ? rc : (int64_t)at;
}

/* `number`: of the object in what makes the call, -1 for anonymous memory. */
static int64_t map_there(struct inject *inject, const struct map_request *request, int number)
{
	int flags = map_flags(request);
	int64_t at;

	if (request->align > page_size() && !request->at)
		at = map_aligned(inject, request, flags);
	else
		at = inject_call(inject, SYS_mmap, request->at, request->bytes, (uint64_t)request->protection,
				 (uint64_t)flags, (uint64_t)(int64_t)number, request->offset);
	/* Linux before 4.17 takes MAP_FIXED_NOREPLACE for a hint. */
	if (!inject_failed(at) && request->fixed && (uint64_t)at != request->at) {
		inject_unmap(inject, (struct region){(uint64_t)at, (uint64_t)at + request->bytes});
		return -EEXIST;
	}
	return at;
}

static int64_t map_by_puppet(struct inject *inject, const struct map_request *request, struct error *error)
{
	struct puppet puppet = PUPPET_OF(TARGET_MAP_PUPPET);
	int64_t at;

	puppet.maps_files = true;
	at = puppet_make(&puppet, inject, error);
	if (at < 0)
		return at;
	at = inject_begin(&puppet.inject, error);
	if (at == 0)
		at = inject_fd_give(&puppet.inject, request->fd);
	if (at >= 0)
		at = map_there(&puppet.inject, request, (int)at);
	if (puppet.inject.tid)
		inject_end(&puppet.inject);
	puppet_dismiss(&puppet, inject);
	return at;
}

/* A thread that does not get a processor may get one yet. */
static void take_back(struct inject *inject, uint64_t start, uint64_t bytes)
{
	struct error ignored = {0};

	for (int tries = 0; tries < UNMAP_TRIES; tries++) {
		int64_t rc = hold_thread(inject, &ignored);

		if (rc == 0)
			rc = inject_unmap(inject, region_at(start, bytes));
		if (rc != -ETIMEDOUT)
			return;
	}
}

static int64_t map_by_thread(struct inject *inject, const struct map_request *request)
{
	int number = request->fd < 0 ? -1 : inject_fd_give(inject, request->fd);
	int64_t at;

	if (request->fd >= 0 && number < 0)
		return number;
	at = map_there(inject, request, number);
	if (number >= 0)
		inject_fd_close(inject, number);
	return at;
}

/*
 * A program that locks all that it maps (mlockall(2), MCL_FUTURE) may have more locked than a process without
 * capabilities, as the puppet is, may add to: then its own thread maps the file.
 */
static int64_t map_memory(struct inject *inject, const struct map_request *request, struct error *error)
{
	int64_t at = -EAGAIN;
	int rc;

	if (request->fd >= 0) {
		let_go(inject);
		at = map_by_puppet(inject, request, error);
		if (error->code)
			return at;
	}
	rc = hold_thread(inject, error);
	if (rc == 0)
		return at == -EAGAIN ? map_by_thread(inject, request) : at;
	if (!inject_failed(at) && !request->replace)
		take_back(inject, (uint64_t)at, request->bytes);
	return rc;
}

/* In steps, so that no thread stands still for long. */
static int populate_memory(struct inject *inject, const struct map_request *request, uint64_t start,
			   struct error *error)
{
	bool write = request->protection & PROT_WRITE && !request->shared;
	uint64_t end = start + request->bytes;

	for (uint64_t at = start; at < end; at = min_u64(end, at + POPULATE_STEP)) {
		int64_t rc = request->interrupted && *request->interrupted ? -EINTR : hold_thread(inject, error);

		if (rc == 0)
			rc = inject_call3(inject, SYS_madvise, at, min_u64(end - at, POPULATE_STEP),
					  write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
		if (rc < 0)
			return rc == -EINVAL ? -EOPNOTSUPP : (int)rc;
	}
	return 0;
}

/* Marked as locked first, which takes no time while nothing is there (MLOCK_ONFAULT), then populated. */
static int fill_memory(struct inject *inject, const struct map_request *request, uint64_t start, struct error *error)
{
	int64_t rc = 0;

	if (request->lock)
		rc = inject_call3(inject, SYS_mlock2, start, request->bytes, MLOCK_ONFAULT);
	if (rc == 0 && (request->populate || request->lock))
		rc = populate_memory(inject, request, start, error);
	return (int)rc;
}

static int explain_map(const struct inject *inject, const struct map_request *request, int rc, struct error *error)
{
	static const struct error_cause causes[] = {
		{-ESRCH, .why = "it has ended"},
		{-EEXIST, .why = "something is mapped there",
		 .hint = "leave out --fixed for another place, or use --replace"},
		{-ENOMEM, .hint = "see addrspace info for its limits and how many mappings it has"},
		{-EINTR, .why = "interrupted before all of it was there"},
		{-ETIMEDOUT, .why = "its threads do not run", .hint = "is its cgroup frozen, or is it ending?"},
		{-EMFILE, .why = "it has no room for another descriptor"},
		{-EAGAIN, .why = "it may lock no more memory", .hint = "see its RLIMIT_MEMLOCK"},
		{-EPERM, .hint = "see min_address in addrspace info, and the mount options of the file"},
		{-EOPNOTSUPP, .why = "this kernel cannot populate mappings at a call"},
		{-EFAULT, .why = "a page of it could not be had"},
		{0},
	};

	if (rc == -EPERM && request->lock)
		return error_set(error, rc, NULL, "see its RLIMIT_MEMLOCK", "map memory in process %d",
				 inject->target->pid);
	return error_explain(error, causes, rc, "map memory in process %d", inject->target->pid);
}

int inject_map(struct inject *inject, const struct map_request *request, uint64_t *start, struct error *error)
{
	struct error stop = {0};
	int64_t at;
	int rc;

	*start = 0;
	*error = (struct error){0};
	at = map_memory(inject, request, error);
	if (inject_failed(at)) {
		let_go(inject);
		return error->code ? (int)at : explain_map(inject, request, (int)at, error);
	}
	rc = fill_memory(inject, request, (uint64_t)at, &stop);
	if (rc < 0 && !request->replace)
		take_back(inject, (uint64_t)at, request->bytes);
	let_go(inject);
	if (rc == 0 || request->replace)
		*start = (uint64_t)at;
	return rc < 0 ? explain_map(inject, request, rc, error) : 0;
}

/* What may be changed in one call: hugetlb pages are not cut. */
static uint64_t step_of(const struct edit_piece *piece, uint64_t at)
{
	uint64_t left = piece->part.end - at;

	return piece->mapping.kind == MAPPING_HUGETLB ? left : min_u64(left, CHANGE_STEP);
}

static int change_piece(struct inject *inject, const struct edit_piece *piece, long number, uint64_t argument,
			uint64_t *reached)
{
	struct error ignored = {0};

	for (*reached = piece->part.start; *reached < piece->part.end;) {
		uint64_t bytes = step_of(piece, *reached);
		int64_t rc = hold_thread(inject, &ignored);

		if (rc == 0)
			rc = inject_call3(inject, number, *reached, bytes, argument);
		if (rc < 0)
			return (int)rc;
		*reached += bytes;
	}
	return 0;
}

int inject_unmap_piece(struct inject *inject, const struct edit_piece *piece, uint64_t *reached)
{
	return change_piece(inject, piece, SYS_munmap, 0, reached);
}

int inject_protect_piece(struct inject *inject, const struct edit_piece *piece, int protection, uint64_t *reached)
{
	return change_piece(inject, piece, SYS_mprotect, (uint64_t)protection, reached);
}

/* Whether a mapping still shows all of a piece as the one did that the piece lay in. */
static bool shows_piece(const struct mapping *now, const struct edit_piece *piece)
{
	const struct mapping *was = &piece->mapping;

	return now->shared && now->inode == was->inode && now->device == was->device &&
	       now->offset - now->region.start == was->offset - was->region.start &&
	       region_contains(now->region, piece->part);
}

/*
 * The object behind a piece, opened by way of its mapping: its name may be gone, or lead elsewhere by now. The mapping
 * is another one when a piece of it was changed before.
 */
static int open_object(const struct inject *inject, const struct edit_piece *piece)
{
	_cleanup_close_ int maps_fd = target_proc_open(inject->target, "maps", O_RDONLY);
	struct mapping now;
	char name[60];
	int rc = maps_fd < 0 ? maps_fd : mapping_at(maps_fd, piece->part.start, &now);

	if (rc < 0)
		return rc;
	if (!rc || !shows_piece(&now, piece))
		return -EAGAIN;
	snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, now.region.start, now.region.end);
	return target_proc_open(inject->target, name, O_RDONLY);
}

int inject_copy_on_write(struct inject *inject, const struct edit_piece *piece, int protection, uint64_t *reached)
{
	const struct mapping *mapping = &piece->mapping;
	struct error ignored = {0};
	struct map_request request = {
		.at = piece->part.start,
		.bytes = region_bytes(piece->part),
		.offset = mapping->offset + (piece->part.start - mapping->region.start),
		.protection = protection,
		.fixed = true,
		.replace = true,
		.lock = piece->locked,
	};
	_cleanup_close_ int fd = -1;
	uint64_t start;
	int rc;

	if (!mapping->shared)
		return inject_protect_piece(inject, piece, protection, reached);
	*reached = piece->part.start;
	if (mapping->kind == MAPPING_SPECIAL || mapping->kind == MAPPING_HUGETLB)
		return -EOPNOTSUPP;
	fd = open_object(inject, piece);
	if (fd < 0)
		return fd;
	request.fd = fd;
	rc = inject_map(inject, &request, &start, &ignored);
	*reached = start ? piece->part.end : piece->part.start;
	return rc;
}
