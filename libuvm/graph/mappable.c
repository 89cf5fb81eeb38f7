/* SPDX-License-Identifier: MIT */
/* Leaves: memory and files. */
#include "graph/mappable.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "graph/graph.h"
#include "graph/watch.h"

#define ALLOC_FLAGS                                                                                          \
	(UVM_ALLOC_ZERO | UVM_ALLOC_INSECURE | UVM_ALLOC_COMMIT | UVM_ALLOC_LOCK | UVM_ALLOC_NO_ZERO_LOCAL | \
	 UVM_ALLOC_PARANOID)

void mappable_init(struct uvm_mappable *mappable, enum kind kind, const struct mappable_ops *ops, uint64_t bytes)
{
	mappable->kind = kind;
	mappable->ops = ops;
	mappable->references = 1;
	mappable->fd = -1;
	mappable->bytes = bytes;
	mappable->access = ALL_ACCESS;
	LIST_INIT(&mappable->above);
	LIST_INIT(&mappable->frozen_for);
}

int mappable_make_memfd(struct uvm_mappable *mappable, const char *name)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)mappable->bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return UVM_MEM_NO_MEMORY;
	mappable->fd = steal_fd(&fd);
	mappable->shmem = true;
	return 0;
}

static int wipe_range(int fd, uint64_t start, uint64_t end)
{
	static const char zeros[65536];
	int rc = 0;

	for (uint64_t at = start; rc == 0 && at < end; at += sizeof(zeros))
		rc = fd_write_all(fd, zeros, min_u64(sizeof(zeros), end - at), at);
	return rc;
}

void mappable_wipe(struct uvm_mappable *mappable)
{
	uint64_t all = mappable->base + mappable->bytes;
	off_t at = (off_t)mappable->base;

	if (!mappable->paranoid || mappable->fd < 0)
		return;
	while ((at = lseek(mappable->fd, at, SEEK_DATA)) >= 0 && (uint64_t)at < all) {
		off_t end = lseek(mappable->fd, at, SEEK_HOLE);

		if (end < 0 || wipe_range(mappable->fd, (uint64_t)at, min_u64((uint64_t)end, all)) < 0)
			return;
		at = end;
	}
}

void mappable_fini(struct uvm_mappable *mappable)
{
	mappable_wipe(mappable);
	if (mappable->pin)
		munmap(mappable->pin, mappable->bytes);
	if (mappable->fd >= 0)
		close(mappable->fd);
}

bool mappable_watchable(const struct uvm_mappable *mappable)
{
	return mappable->shmem && mappable->access & UVM_ACCESS_WRITE && watch_start() == 0 && watch_catches_writes();
}

struct uvm_mappable *mappable_use(struct uvm_mappable *leaf)
{
	leaf->users++;
	return uvm_mappable_ref(leaf);
}

void mappable_unuse(struct uvm_mappable *leaf)
{
	leaf->users--;
	if (leaf->mirror_of && !leaf->users && leaf->mirror_of->mirror == leaf)
		leaf->mirror_of->mirror = NULL;
	mappable_put(leaf);
}

struct uvm_mappable *mappable_mirror(struct uvm_mappable *file)
{
	struct uvm_mappable *mirror = file->ops->mirror ? file->ops->mirror(file) : NULL;

	if (mirror)
		mirror->users++;
	return mirror;
}

bool mappable_has(const struct uvm_mappable *mappable, uint64_t offset)
{
	return !mappable->ops->has || mappable->ops->has(mappable, offset);
}

bool mappable_usable(const struct uvm_mappable *mappable)
{
	return !mappable->ops->usable || mappable->ops->usable(mappable);
}

void leaf_free(struct uvm_mappable *leaf)
{
	mappable_fini(leaf);
	free(leaf);
}

static const struct mappable_ops leaf_ops = {.free = leaf_free};

/* Populated through a mapping, which stays when the memory is to be locked (it is as long as some mapping is). */
static int commit_memory(struct uvm_mappable *memory, bool lock)
{
	void *at = MAP_FAILED;

	if (machine_holds(memory->bytes, lock))
		at = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
	if (at == MAP_FAILED)
		return UVM_MEM_NO_MEMORY;
	/* Not mlock(), which a sanitizer makes do nothing. */
	if (madvise(at, memory->bytes, MADV_POPULATE_WRITE) < 0 || (lock && mlock2(at, memory->bytes, 0) < 0)) {
		munmap(at, memory->bytes);
		return UVM_MEM_NO_MEMORY;
	}
	if (lock)
		memory->pin = at;
	else
		munmap(at, memory->bytes);
	return 0;
}

int uvm_mappable_create_memory(uint64_t bytes, unsigned int flags, struct uvm_mappable **mappable)
{
	struct uvm_mappable *memory;
	int rc;

	if (!bytes || bytes > INT64_MAX - page_size() || flags & ~ALLOC_FLAGS)
		return UVM_MEM_INVALID_ARGUMENT;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return UVM_MEM_NO_MEMORY;
	mappable_init(memory, KIND_MEMORY, &leaf_ops, round_up(bytes, page_size()));
	memory->paranoid = flags & UVM_ALLOC_PARANOID;
	rc = mappable_make_memfd(memory, "uvm-memory");
	if (rc == 0 && flags & (UVM_ALLOC_COMMIT | UVM_ALLOC_LOCK))
		rc = commit_memory(memory, flags & UVM_ALLOC_LOCK);
	if (rc < 0) {
		leaf_free(memory);
		return rc;
	}
	*mappable = memory;
	return 0;
}

static int bytes_of(struct uvm_mappable *mappable, uint64_t *bytes)
{
	struct stat st;

	*bytes = mappable->bytes;
	if (!mappable_usable(mappable))
		return UVM_MEM_INVALID_STATE;
	if (mappable->kind != KIND_FILE)
		return 0;
	if (fstat(mappable->fd, &st) < 0)
		return UVM_MEM_IO_ERROR;
	*bytes = round_up((uint64_t)st.st_size, page_size());
	return 0;
}

int uvm_mappable_get_size(struct uvm_mappable *mappable, uint64_t *blocks)
{
	GRAPH_LOCKED;
	uint64_t bytes;
	int rc = bytes_of(mappable, &bytes);

	if (rc == 0)
		*blocks = bytes / page_size();
	return rc;
}

int uvm_mappable_get_block_size(struct uvm_mappable *mappable, uint64_t *bytes)
{
	uint64_t ignored;
	int rc = uvm_mappable_get_size(mappable, &ignored);

	if (rc == 0)
		*bytes = page_size();
	return rc;
}
