/* SPDX-License-Identifier: MIT */
#include "tool/describe.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/text.h"
#include "cgroup/cgroup.h"
#include "proc/stat.h"
#include "report/input.h"

#define KNOWN_MAX 256     /* those that were named last */
#define KNOWN_US  1000000 /* for so long: it may run another program then, or be in another cgroup */

/* A process that records have named. */
struct described {
	pid_t pid;
	uint64_t starttime;
	uint64_t read_us;
	char comm[PROC_NAME];
	char *cgroup; /* NULL: not known */
};

static struct described known[KNOWN_MAX];
static size_t next_known;

/* Without a start time the one that was named last. */
static struct described *recall_process(pid_t pid, uint64_t starttime)
{
	for (size_t i = 1; i <= KNOWN_MAX; i++) {
		struct described *one = &known[(next_known + KNOWN_MAX - i) % KNOWN_MAX];

		if (one->pid == pid && (!starttime || one->starttime == starttime))
			return one;
	}
	return NULL;
}

/* A process that has this start time now had it when the rest was read. */
static bool inspect_process(struct described *one, pid_t pid, uint64_t starttime)
{
	char path[PATH_MAX];
	struct proc_stat stat;
	int rc = cgroup_path(pid, path);

	*one = (struct described){.pid = pid, .read_us = now_us()};
	if (proc_name_read(pid, one->comm) <= 0 || proc_stat_read(pid, &stat) < 0 ||
	    (starttime && stat.starttime != starttime))
		return false;
	text_make_safe(one->comm);
	one->starttime = stat.starttime;
	one->cgroup = rc < 0 ? NULL : strdup(text_make_safe(path));
	return true;
}

/* As it is known, or was when it ended. Returns NULL when nothing is. */
static const struct described *find_process(pid_t pid, uint64_t starttime)
{
	struct described *one = recall_process(pid, starttime);
	struct described now;

	if ((one && now_us() - one->read_us < KNOWN_US) || !inspect_process(&now, pid, starttime))
		return one;
	if (!one) {
		one = &known[next_known];
		next_known = (next_known + 1) % KNOWN_MAX;
	}
	free(one->cgroup);
	*one = now;
	return one;
}

void describe_process(json_t *record)
{
	uint64_t pid = input_number(record, "pid");
	const struct described *one;

	if (!pid || pid > INT_MAX || json_object_get(record, "comm"))
		return;
	one = find_process((pid_t)pid, input_number(record, "starttime"));
	if (!one)
		return;
	json_object_set_new(record, "comm", json_string(one->comm));
	if (one->cgroup)
		json_object_set_new(record, "cgroup", json_string(one->cgroup));
}
