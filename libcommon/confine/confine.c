/* SPDX-License-Identifier: MIT */
/* What our processes give up, and what of it the kernel did not grant. */
#include "confine/confine.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "confine/capabilities.h"
#include "proc/stat.h"
#include "proc/tasks.h"

void confine_process(void)
{
	umask(077);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* One process as the kernel shows it. */
struct inspected {
	pid_t pid;
	char status[4096];
};

static bool has_no_new_privs(const struct inspected *inspected)
{
	return proc_status_number(inspected->status, "NoNewPrivs", 10, 0) == 1;
}

static bool has_capabilities(const struct inspected *inspected)
{
	uint64_t permitted = proc_status_number(inspected->status, "CapPrm", 16, 0);

	for (unsigned int i = 0; i < 64; i++)
		if (permitted >> i & 1 && !confine_capability_is_needed(i))
			return false;
	return true;
}

static bool has_seccomp(const struct inspected *inspected)
{
	return proc_status_number(inspected->status, "Seccomp", 10, 0) == SECCOMP_MODE_FILTER;
}

static bool has_limits(const struct inspected *inspected)
{
	static const int unlimited[] = {RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_CPU};
	struct rlimit limit;

	for (size_t i = 0; i < ARRAY_SIZE(unlimited); i++)
		if (prlimit(inspected->pid, (__rlimit_resource_t)unlimited[i], NULL, &limit) == 0 &&
		    limit.rlim_cur != RLIM_INFINITY)
			return false;
	return prlimit(inspected->pid, RLIMIT_CORE, NULL, &limit) < 0 || limit.rlim_cur == 0;
}

static bool has_memory_locked(const struct inspected *inspected)
{
	return proc_status_number(inspected->status, "VmLck", 10, 1) > 0;
}

static bool has_oom_score(const struct inspected *inspected)
{
	char text[16];

	return proc_file_read(inspected->pid, "oom_score_adj", text, sizeof(text)) <= 0 || atoi(text) == -1000;
}

bool confine_is_filtered(const struct target *target)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	bool filtered = !tasks;

	for (pid_t tid; tasks && !filtered && (tid = tasks_next(tasks)) > 0;) {
		uint64_t mode;

		filtered = proc_status_read(tid, "Seccomp", 10, &mode) == 0 && mode > 0;
	}
	return filtered;
}

/* Everything that one of our processes has, by the name that a record gives it. */
static const struct part {
	const char *name;
	bool (*has)(const struct inspected *inspected);
} parts[] = {
	{"no_new_privs", has_no_new_privs},
	{"capabilities", has_capabilities},
	{"seccomp", has_seccomp},
	{"limits", has_limits},
	{"locked_memory", has_memory_locked},
	{"oom_score_adj", has_oom_score},
};

static const char *explain_lack(const struct target *target, const struct part *part, const char *given_up)
{
	if (part->has != has_limits && part->has != has_oom_score && given_up)
		return given_up;
	if (part->has == has_seccomp && confine_is_filtered(target))
		return "the process has a seccomp filter, and only a process without one may suspend it";
	return "this user or this kernel does not permit it";
}

json_t *confine_missing(const struct target *target, const pid_t *pids, unsigned int count, const char *given_up)
{
	json_t *missing = json_object();

	for (unsigned int i = 0; missing && i < count; i++) {
		struct inspected inspected = {.pid = pids[i]};

		if (proc_file_read(pids[i], "status", inspected.status, sizeof(inspected.status)) <= 0)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
			if (!parts[k].has(&inspected))
				json_object_set_new(missing, parts[k].name,
						    json_string(explain_lack(target, &parts[k], given_up)));
	}
	return missing;
}
