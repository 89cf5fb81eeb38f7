/* SPDX-License-Identifier: MIT */
/* cgroups: how near one is to a limit of its memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "cgroup/cgroup.h"

#define DEPTH_MAX 64
#define NO_LIMIT  (UINT64_C(1) << 62) /* version 1 says "none" by a number that no machine's memory has */

/* "max" is no limit. */
static int read_number(int directory, const char *name, uint64_t *number)
{
	char text[32];

	if (fd_read_text_at(directory, name, text, sizeof(text)) <= 0)
		return -ENOENT;
	*number = strncmp(text, "max", 3) == 0 ? UINT64_MAX : strtoull(text, NULL, 10);
	return 0;
}

/*
 * The names in memory.stat are "inactive_file" in version 2, "total_inactive_file" in version 1, where that without
 * "total_" leaves out what is below.
 */
static uint64_t read_inactive(int directory, const char *name)
{
	char text[8192];
	const char *at;

	if (fd_read_text_at(directory, "memory.stat", text, sizeof(text)) <= 0)
		return 0;
	at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

int cgroup_memory_here(int directory, struct cgroup_memory *memory)
{
	uint64_t high = UINT64_MAX;
	uint64_t used;
	uint64_t inactive;

	*memory = (struct cgroup_memory){.limit = UINT64_MAX};
	if (read_number(directory, "memory.current", &used) == 0) {
		inactive = read_inactive(directory, "\ninactive_file ");
		read_number(directory, "memory.max", &memory->limit);
		read_number(directory, "memory.high", &high);
	} else if (read_number(directory, "memory.usage_in_bytes", &used) == 0) {
		inactive = read_inactive(directory, "\ntotal_inactive_file ");
		read_number(directory, "memory.limit_in_bytes", &memory->limit);
		if (memory->limit >= NO_LIMIT)
			memory->limit = UINT64_MAX;
	} else {
		return -ENOENT;
	}
	memory->limit = min_u64(memory->limit, high);
	memory->used = used - min_u64(used, inactive);
	return 0;
}

uint64_t cgroup_memory_left(const struct cgroup_memory *memory)
{
	if (memory->limit == UINT64_MAX)
		return UINT64_MAX;
	return memory->limit - min_u64(memory->limit, memory->used);
}

/* Every directory of a hierarchy has cgroup.procs; the one that it is mounted in does not. */
static void walk_up(int directory, cgroup_limit_fn callback, void *context)
{
	_cleanup_close_ int at = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned int i = 0; i < DEPTH_MAX && at >= 0 && faccessat(at, "cgroup.procs", F_OK, 0) == 0; i++) {
		struct cgroup_memory memory;
		int above = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (cgroup_memory_here(at, &memory) == 0)
			callback(context, at, &memory);
		close(at);
		at = above;
	}
}

struct nearest {
	struct cgroup_memory *memory;
	bool found;
};

static void take_nearest(void *context, int directory, const struct cgroup_memory *memory)
{
	struct nearest *nearest = context;

	(void)directory;
	if (nearest->found && cgroup_memory_left(memory) >= cgroup_memory_left(nearest->memory))
		return;
	*nearest->memory = *memory;
	nearest->found = true;
}

int cgroup_memory(int directory, struct cgroup_memory *nearest)
{
	struct nearest most = {.memory = nearest};

	walk_up(directory, take_nearest, &most);
	return most.found ? 0 : -ENOENT;
}

struct limits {
	cgroup_limit_fn callback;
	void *context;
};

static void take_limited(void *context, int directory, const struct cgroup_memory *memory)
{
	const struct limits *limits = context;

	if (memory->limit != UINT64_MAX)
		limits->callback(limits->context, directory, memory);
}

void cgroup_limits(int directory, cgroup_limit_fn callback, void *context)
{
	struct limits limits = {callback, context};

	walk_up(directory, take_limited, &limits);
}

int cgroup_of_memory(const struct target *target)
{
	int directory = cgroup_of(target, "memory");

	return directory >= 0 ? directory : cgroup_of(target, NULL);
}
