/* SPDX-License-Identifier: MIT */
/* The file in which copies lie. */
#include "space/shadow_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "graph/mappable.h"

struct shadow_file {
	int fd;
	uint64_t used; /* ranges are not used again: a file has room for more than there will be */
	unsigned int shadows;
};

static struct shadow_file *current;

static struct shadow_file *file_new(void)
{
	struct shadow_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->fd = memfd_create("uvm-shadow", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file->fd < 0 || fcntl(file->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		cleanup_close(&file->fd);
		free(file);
		return NULL;
	}
	return file;
}

static void file_put(struct shadow_file *file)
{
	if (file->shadows)
		return;
	if (file == current)
		current = NULL;
	close(file->fd);
	free(file);
}

/* How large a file may become. Who tries to make it larger gets SIGXFSZ. */
static uint64_t most_bytes(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == 0 ? min_u64(limit.rlim_cur, INT64_MAX) : INT64_MAX;
}

static bool has_room(const struct shadow_file *file, uint64_t bytes)
{
	uint64_t most = most_bytes();

	return file->used <= most && bytes <= most - file->used;
}

int shadow_file_take(struct shadow *shadow)
{
	struct uvm_mappable *leaf = &shadow->leaf;
	struct shadow_file *file = current;

	if (!file || !has_room(file, leaf->bytes))
		file = file_new();
	if (!file)
		return UVM_MEM_NO_MEMORY;
	if (!has_room(file, leaf->bytes) || ftruncate(file->fd, (off_t)(file->used + leaf->bytes)) < 0) {
		file_put(file);
		return UVM_MEM_NO_MEMORY;
	}
	leaf->fd = file->fd;
	leaf->base = file->used;
	leaf->shmem = true;
	file->used += leaf->bytes;
	file->shadows++;
	shadow->file = current = file;
	return 0;
}

void shadow_file_drop(struct shadow *shadow)
{
	struct uvm_mappable *leaf = &shadow->leaf;

	if (!shadow->file)
		return;
	mappable_wipe(leaf);
	fallocate(leaf->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)leaf->base, (off_t)leaf->bytes);
	leaf->fd = -1;
	shadow->file->shadows--;
	file_put(shadow->file);
}
