/* SPDX-License-Identifier: MIT */
/*
 * Finding the ring of another process. What lies in it was written by that process: sizes and seals come from the
 * kernel, all else is checked.
 */
#include "reclaim/find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "proc/maps.h"
#include "proc/refusal.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define LINK  "/memfd:" RING_NAME " (deleted)"
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* A candidate: the wrong thing under the right name must not make us look further for the reason. */
struct search {
	const struct target *target;
	int maps_fd;
	bool writable;
	const char *wrong; /* why the last candidate was none */
};

/*
 * Never opens anything but a file of the kernel's own tmpfs, whatever the name says: opening a device or a pipe can
 * have effects.
 */
static int reopen_file(struct search *search, const char *path)
{
	_cleanup_close_ int handle = target_proc_open(search->target, path, O_PATH);
	struct statfs fs;
	struct stat st;
	char self[40];
	int fd;

	if (handle < 0)
		return handle;
	if (fstat(handle, &st) < 0 || fstatfs(handle, &fs) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || fs.f_type != TMPFS_MAGIC) {
		search->wrong = "what has the name of one is no memfd";
		return -EBADMSG;
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", handle);
	fd = open(self, (search->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Mapped only when it cannot shrink under us: reading behind its end would be our end. */
static int map_ring(struct search *search, struct ring_found *ring)
{
	struct stat st;
	int seals = fcntl(ring->fd, F_GET_SEALS);
	void *at;

	if (seals < 0 || (seals & SEALS) != SEALS) {
		search->wrong = "its memfd is not sealed against shrinking and growing";
		return -EBADMSG;
	}
	if (fstat(ring->fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)(RING_ENTRIES + sizeof(struct ring_entry)) ||
	    st.st_size > (off_t)round_up(RING_ENTRIES + RING_MAX * sizeof(struct ring_entry), page_size())) {
		search->wrong = "its memfd has a size that no ring has";
		return -EBADMSG;
	}
	ring->bytes = (size_t)st.st_size;
	ring->inode = st.st_ino;
	at = mmap(NULL, ring->bytes, PROT_READ | (search->writable ? PROT_WRITE : 0), MAP_SHARED, ring->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	ring->view.shared = at;
	return 0;
}

/* A child that inherited the mapping has another number for itself. */
static bool is_of(const struct search *search, uint32_t pid)
{
	char text[4096];
	unsigned int depth;
	pid_t own;

	if (target_file_read(search->target, "status", text, sizeof(text)) < 0)
		return false;
	own = proc_status_innermost(text, &depth);
	return pid == (uint32_t)(depth ? own : search->target->pid);
}

static int check_header(struct search *search, struct ring_found *ring)
{
	const volatile struct ring_shared *shared = ring->view.shared;
	uint64_t room = (ring->bytes - RING_ENTRIES) / sizeof(struct ring_entry);
	uint32_t most = shared->fixed.max_capacity; /* once: it may change under our eyes */
	int rc;

	if (shared->fixed.magic != RING_MAGIC || shared->fixed.version != RING_VERSION) {
		search->wrong = "it was made by another version of the library";
		return -EBADMSG;
	}
	if (!is_of(search, shared->pid))
		return -ENOENT;
	if (!most || most > room || shared->fixed.bytes != ring->bytes) {
		search->wrong = "its sizes contradict that of its memfd";
		return -EBADMSG;
	}
	ring->view.max_capacity = most;
	ring->address = shared->fixed.address;
	rc = ring_is_mapped(ring, search->maps_fd);
	if (rc < 0)
		return rc;
	rc = ring_view_check(&ring->view);
	if (rc < 0)
		search->wrong = "its indices or capacity make no sense";
	return rc;
}

int ring_is_mapped(const struct ring_found *ring, int maps_fd)
{
	struct mapping mapping;
	int rc = mapping_at(maps_fd, ring->address, &mapping);

	if (rc <= 0)
		return rc ? rc : -ENOENT;
	if (!mapping.shared || mapping.kind != MAPPING_SHMEM || mapping.inode != ring->inode || mapping.offset ||
	    mapping.region.start != ring->address || strcmp(mapping.name, LINK) != 0)
		return -ENOENT;
	return 0;
}

/* One candidate. Returns 0 with the ring, or -errno with nothing held. */
static int take_ring(struct search *search, const char *path, struct ring_found *ring)
{
	int rc;

	*ring = RING_FOUND_NONE;
	ring->fd = reopen_file(search, path);
	if (ring->fd < 0)
		return ring->fd;
	rc = map_ring(search, ring);
	if (rc == 0)
		rc = check_header(search, ring);
	if (rc < 0)
		ring_release(ring);
	return rc;
}

/* What is worth telling: that there is none says less than why one cannot be used. */
static int keep_reason(int before, int rc)
{
	return rc == -ENOENT || rc == -ESRCH ? before : rc;
}

static int search_descriptors(struct search *search, struct ring_found *ring)
{
	_cleanup_closedir_ DIR *dir = fd_directory(target_proc_open(search->target, "fd", O_RDONLY | O_DIRECTORY));
	int found = -ENOENT;

	if (!dir)
		return -errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char link[sizeof(LINK) + 1] = "", path[40];
		int rc;

		/* To root, the directory is shown without the right to look; and so is that of one that has ended. */
		if (readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1) < 0 && errno == EACCES)
			return target_alive(search->target) ? -EACCES : -ESRCH;
		if (strcmp(link, LINK) != 0)
			continue;
		snprintf(path, sizeof(path), "fd/%.20s", entry->d_name);
		rc = take_ring(search, path, ring);
		if (rc == 0) {
			ring->open = true;
			return 0;
		}
		found = keep_reason(found, rc);
	}
	return found;
}

static int search_mappings(struct search *search, struct ring_found *ring)
{
	struct maps_reader maps;
	struct mapping mapping;
	int found = -ENOENT;
	int rc = maps_open(&maps, search->target);

	if (rc < 0)
		return rc;
	while ((rc = maps_next(&maps, &mapping)) > 0) {
		char path[64];

		if (!mapping.shared || mapping.offset || strcmp(mapping.name, LINK) != 0)
			continue;
		snprintf(path, sizeof(path), "map_files/%llx-%llx", (unsigned long long)mapping.region.start,
			 (unsigned long long)mapping.region.end);
		rc = take_ring(search, path, ring);
		if (rc == 0)
			break;
		found = keep_reason(found, rc);
	}
	maps_close(&maps);
	return ring->fd >= 0 ? 0 : rc < 0 ? rc : found;
}

static int explain_search(const struct search *search, int rc, struct error *error)
{
	const char *what = "find the reclaim ring of";
	struct proc_stat stat;

	if (rc == -ENOENT)
		return error_set(error, -ENOMSG, "it has none",
				 "programs get one by <uvm/reclaim.h>, or started by: reclaimctl run -- COMMAND",
				 "%s process %d", what, search->target->pid);
	if (rc == -EBADMSG)
		return error_set(error, rc, search->wrong,
				 "leave it alone: a ring that lies is an error in that program", "%s process %d", what,
				 search->target->pid);
	/* A thread of the kernel has no memory, no more than a process that is about to end. */
	if (rc == -ESRCH && proc_stat_read(search->target->pid, &stat) == 0 && proc_stat_is_kernel_thread(&stat))
		return target_check_readable(search->target, error);
	return refusal_to_look(search->target, rc, what, error);
}

int ring_find(const struct target *target, bool writable, struct ring_found *ring, struct error *error)
{
	struct search search = {.target = target, .writable = writable};
	_cleanup_close_ int maps_fd = target_proc_open(target, "maps", O_RDONLY);
	int rc = maps_fd < 0 ? maps_fd : 0;

	*ring = RING_FOUND_NONE;
	search.maps_fd = maps_fd;
	if (rc == 0)
		rc = search_descriptors(&search, ring);
	if (rc == -ENOENT)
		rc = search_mappings(&search, ring);
	return rc < 0 ? explain_search(&search, rc, error) : 0;
}

static int search_process(pid_t pid, ring_each_fn each, void *context)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	struct error error = {0};
	int rc = target_open(&target, pid, -1, &error);

	if (rc < 0)
		return 0;
	rc = target_is_puppet(target.pid) ? -ENOENT : ring_find(&target, false, &ring, &error);
	if (rc < 0 && rc != -EBADMSG)
		return 0;
	return each(context, &target, rc < 0 ? NULL : &ring, &error);
}

int ring_find_all(ring_each_fn each, void *context)
{
	_cleanup_closedir_ DIR *processes = processes_open();
	int rc = 0;

	if (!processes)
		return -errno;
	for (pid_t pid; rc == 0 && (pid = tasks_next(processes)) > 0;)
		if (pid != getpid())
			rc = search_process(pid, each, context);
	return rc;
}

void ring_release(struct ring_found *ring)
{
	if (ring->view.shared)
		munmap(ring->view.shared, ring->bytes);
	cleanup_close(&ring->fd);
	*ring = RING_FOUND_NONE;
}
