/* SPDX-License-Identifier: MIT */
/*
 * ENOMEM of UFFDIO_MOVE: a memory control group without room for one more page table, in which nothing is killed to
 * make room.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "exercise/list.h"
#include "uffd/uffd.h"

#define GROUPS "/sys/fs/cgroup/memory" /* version 1: there a group can be told not to kill */
#define ROOM   (1 * MiB)
#define APART  (2 * MiB) /* of the destinations, so that each needs a page table of its own */
#define TABLES 2048      /* more of them than there is room for */
#define END_MS 3000      /* for the process that fills the group; an exercise may take longer */

enum child_end {
	END_ENOMEM,
	END_GROUP,
	END_OTHER
};

static int write_group(const char *group, const char *name, uint64_t value)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[120];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	file = fopen(path, "we");
	if (!file)
		return -errno;
	fprintf(file, "%" PRIu64, value);
	return fflush(file) ? -errno : 0;
}

static uint64_t read_usage(const char *group)
{
	_cleanup_fclose_ FILE *file = NULL;
	uint64_t bytes = 0;
	char path[120];

	snprintf(path, sizeof(path), "%s/memory.usage_in_bytes", group);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%" SCNu64, &bytes) != 1)
		return 0;
	return bytes;
}

/* One page goes from place to place until there is no memory for the next page table. */
static enum child_end move_until_full(const char *group, int fd, char *at)
{
	size_t moved;

	*at = KIT_BYTE;
	if (write_group(group, "cgroup.procs", (uint64_t)getpid()) || write_group(group, "memory.oom_control", 1) ||
	    write_group(group, "memory.limit_in_bytes", read_usage(group) + ROOM))
		return END_GROUP;
	for (size_t i = 1; i < TABLES; i++) {
		char *from = at + (i - 1) * APART;
		int result = uffd_move(fd, (uintptr_t)from + APART, (uintptr_t)from, page_size(), 0, &moved);

		if (result == -ENOMEM)
			return *from == KIT_BYTE ? END_ENOMEM : END_OTHER;
		if (result)
			return END_OTHER;
	}
	return END_OTHER;
}

/*
 * All that it will touch is there before the group is full: a page fault without room waits in such a group, for ever
 * (cgroup-v1/memory.rst, memory.oom_control).
 */
__attribute__((noreturn)) static void move_without_memory(struct kit *kit, const char *group)
{
	int locked = mlockall(MCL_CURRENT);
	int fd = uffd_open(kit->route);
	size_t bytes = TABLES * APART;
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct region region = {(uintptr_t)at + page_size(), (uintptr_t)at + bytes};

	if (locked || fd < 0 || at == MAP_FAILED || uffd_handshake(fd, UFFD_FEATURE_MOVE) ||
	    madvise(at, bytes, MADV_NOHUGEPAGE) || uffd_register(fd, region, UFFDIO_REGISTER_MODE_MISSING, NULL))
		_exit(END_GROUP);
	_exit(move_until_full(group, fd, at));
}

static void remove_group(const char *group)
{
	for (int tries = 0; rmdir(group) && errno == EBUSY && tries < 1000; tries++)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000000}, NULL);
}

void exercise_move_enomem(struct kit *kit)
{
	char group[80];
	int status = 0;
	pid_t child;

	snprintf(group, sizeof(group), GROUPS "/uvmtools-probe-%d", getpid());
	if (access(GROUPS "/memory.oom_control", F_OK) && access(GROUPS "/memory.limit_in_bytes", F_OK))
		kit_not_applicable(kit, "it takes a memory control group of version 1, which is not here");
	if (mkdir(group, 0700))
		kit_not_applicable(kit, "it takes a memory control group: %s: %s", GROUPS, strerror(errno));
	child = fork();
	if (!child && !prctl(PR_SET_PDEATHSIG, SIGKILL))
		move_without_memory(kit, group);
	if (child > 0) {
		_cleanup_close_ int pidfd = pidfd_of(child);

		if (!pidfd_ends(pidfd, END_MS))
			kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	remove_group(group);
	if (child < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == END_GROUP))
		kit_not_applicable(kit, "the memory control group could not be set up");
	kit_check(kit, WIFEXITED(status) && WEXITSTATUS(status) == END_ENOMEM, "ENOMEM, and the page where it was");
	kit_pass(kit, "ENOMEM when there was no memory for a page table; the page stayed where it was");
}
