/* SPDX-License-Identifier: MIT */
/*
 * Files. Writes to one on a disk cannot be watched, so that what copies it on write is shown a mirror: a cache of what
 * the file holds, which all of them share.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/size.h"
#include "cache/cache.h"
#include "graph/graph.h"
#include "graph/mappable.h"
#include "graph/watch.h"

#define UNIT (64 * KiB) /* read at a touch */

static void free_mirror(struct uvm_mappable *mirror)
{
	region_vec_free(&mirror->shown);
	cache_free(mirror);
}

static const struct mappable_ops mirror_ops = {
	.free = free_mirror,
	.has = cache_has,
	.missing = cache_missing,
};

static uint64_t bytes_of(const struct uvm_mappable *file)
{
	struct stat st;

	return fstat(file->fd, &st) == 0 ? round_up((uint64_t)st.st_size, page_size()) : 0;
}

static int make_mirror(struct uvm_mappable *file, struct uvm_cacheable *cacheable)
{
	struct uvm_cache *cache;
	int rc = cache_make(&mirror_ops, &cache);

	if (rc < 0)
		return rc;
	cacheable->unit = UNIT;
	cache->mappable.mirror_of = file;
	rc = cache_prepare(cache, cacheable);
	if (rc < 0) {
		free_mirror(&cache->mappable);
		return rc;
	}
	file->mirror = &cache->mappable;
	return 0;
}

/* Where system calls could not wait for a page, and where it can have changed already, all is copied at once. */
static struct uvm_mappable *file_mirror(struct uvm_mappable *file)
{
	uint64_t bytes = bytes_of(file);
	struct uvm_cacheable *cacheable;

	if (file->mirror)
		return file->mirror->bytes == bytes ? uvm_mappable_ref(file->mirror) : NULL;
	if (file->written || !bytes || watch_start() < 0 || !watch_catches_writes() || !watch_serves_calls() ||
	    cacheable_of(file, bytes / page_size(), &cacheable) < 0)
		return NULL;
	make_mirror(file, cacheable);
	cacheable_put(cacheable);
	return file->mirror;
}

/*
 * What is shown and not touched so far is read now. A copy that is made later is made at once.
 */
static int begin_writing(struct uvm_mappable *file)
{
	struct uvm_mappable *mirror = file->mirror;

	for (size_t i = 0; mirror && i < mirror->shown.count; i++) {
		int rc = cache_complete((struct uvm_cache *)mirror, mirror->shown.items[i], file->fd);

		if (rc < 0)
			return rc;
	}
	file->written = true;
	file->mirror = NULL;
	return 0;
}

static const struct mappable_ops file_ops = {
	.free = leaf_free,
	.mirror = file_mirror,
	.begin_writing = begin_writing,
};

int uvm_mappable_create_file(int fd, struct uvm_mappable **mappable)
{
	int mode = fcntl(fd, F_GETFL);
	struct uvm_mappable *file;
	struct statfs fs;
	struct stat st;

	if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY || mode & O_PATH || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return UVM_MEM_INVALID_ARGUMENT;
	file = calloc(1, sizeof(*file));
	if (!file)
		return UVM_MEM_NO_MEMORY;
	/* A file grows and shrinks: beyond its end is SIGBUS, as for any mapping. */
	mappable_init(file, KIND_FILE, &file_ops, round_down(INT64_MAX, page_size()));
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0) {
		free(file);
		return UVM_MEM_NO_MEMORY;
	}
	file->shmem = fstatfs(fd, &fs) == 0 && (uint32_t)fs.f_type == TMPFS_MAGIC;
	if ((mode & O_ACCMODE) == O_RDONLY)
		file->access &= ~UVM_ACCESS_WRITE;
	*mappable = file;
	return 0;
}
