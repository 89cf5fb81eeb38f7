/* SPDX-License-Identifier: MIT */
/* Which processes a verb works on. */
#include "tool/choice.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "cgroup/cgroup.h"
#include "proc/stat.h"
#include "proc/tasks.h"
#include "proc/tracer.h"

#define COMM_MAX     15         /* characters that the kernel keeps */
#define FIRST_PID_NS 0xEFFFFFFC /* include/linux/proc_ns.h, PROC_PID_INIT_INO */

/* One choice on its way. */
struct choosing {
	const struct cli_processes *options;
	struct choices *choices;
	struct {
		pid_t *items;
		size_t count, capacity;
	} members; /* of the cgroups and units, sorted */
	int rc;
};

static void add_choice(struct choosing *choosing, struct process_choice choice)
{
	struct choices *choices = choosing->choices;

	for (size_t i = 0; choice.named && i < choices->count; i++)
		if (choices->items[i].pid == choice.pid && choices->items[i].pidfd == choice.pidfd)
			return;
	if (array_reserve(&choices->items, choices->count, &choices->capacity) < 0)
		choosing->rc = -ENOMEM;
	else
		choices->items[choices->count++] = choice;
}

static void add_member(void *context, pid_t pid)
{
	struct choosing *choosing = context;

	if (array_reserve(&choosing->members.items, choosing->members.count, &choosing->members.capacity) < 0)
		choosing->rc = -ENOMEM;
	else
		choosing->members.items[choosing->members.count++] = pid;
}

static int compare_pids(const void *a, const void *b)
{
	const pid_t one = *(const pid_t *)a;
	const pid_t other = *(const pid_t *)b;

	return (one > other) - (one < other);
}

static int add_members(struct choosing *choosing, char **names, int (*open)(const char *, struct error *),
		       struct error *error)
{
	int rc = 0;

	for (; rc >= 0 && names && *names; names++) {
		_cleanup_close_ int cgroup = open(*names, error);

		rc = cgroup < 0 ? cgroup : cgroup_pids(cgroup, add_member, choosing);
		if (cgroup >= 0 && rc < 0)
			rc = error_set(error, rc, NULL, NULL, "read the processes of %s", *names);
	}
	return rc < 0 ? rc : 0;
}

static int find_members(struct choosing *choosing, struct error *error)
{
	int rc = add_members(choosing, choosing->options->cgroups, cgroup_open, error);

	if (rc == 0)
		rc = add_members(choosing, choosing->options->units, cgroup_unit, error);
	if (choosing->members.count)
		qsort(choosing->members.items, choosing->members.count, sizeof(pid_t), compare_pids);
	return rc;
}

static bool wants_members(const struct cli_processes *options)
{
	return options->cgroups || options->units;
}

/* The last part of the first word of its command line. Returns whether a name was cut from that. */
static bool read_full_name(pid_t pid, const char *name, char *text, size_t size)
{
	ssize_t length = proc_file_read(pid, "cmdline", text, size);
	const char *slash = length > 0 ? strrchr(text, '/') : NULL;

	if (length <= 0)
		return false;
	if (slash)
		memmove(text, slash + 1, strlen(slash + 1) + 1);
	return strncmp(text, name, strlen(name)) == 0;
}

bool choice_name_matches(const char *glob, pid_t pid)
{
	char name[PROC_NAME];
	char full[PATH_MAX];

	proc_name_read(pid, name);
	if (fnmatch(glob, name, 0) == 0)
		return true;
	return strlen(name) == COMM_MAX && read_full_name(pid, name, full, sizeof(full)) && fnmatch(glob, full, 0) == 0;
}

static bool comm_matches(char **globs, pid_t pid)
{
	while (*globs && !choice_name_matches(*globs, pid))
		globs++;
	return *globs;
}

/* Whether it matches the filters beside its number. */
static bool is_wanted(const struct choosing *choosing, pid_t pid)
{
	const struct cli_processes *options = choosing->options;

	if (wants_members(options) &&
	    (!choosing->members.count ||
	     !bsearch(&pid, choosing->members.items, choosing->members.count, sizeof(pid), compare_pids)))
		return false;
	return !options->comms || comm_matches(options->comms, pid);
}

/* One that nobody named. What cannot be inspected has ended. */
static void consider_process(struct choosing *choosing, pid_t pid)
{
	struct proc_stat stat;

	if (pid == getpid() || proc_stat_read(pid, &stat) < 0 || proc_stat_is_kernel_thread(&stat) ||
	    stat.state == 'Z' || !is_wanted(choosing, pid) || target_is_puppet(pid) || tracer_has_our_name(pid))
		return;
	add_choice(choosing, (struct process_choice){.pid = pid, .starttime = stat.starttime, .pidfd = -1});
}

static void consider_members(struct choosing *choosing)
{
	for (size_t i = 0; i < choosing->members.count; i++)
		if (!i || choosing->members.items[i] != choosing->members.items[i - 1])
			consider_process(choosing, choosing->members.items[i]);
}

static int consider_all(struct choosing *choosing, struct error *error)
{
	_cleanup_closedir_ DIR *processes = processes_open();
	pid_t pid;

	if (!processes)
		return error_set(error, -errno, NULL, NULL, "list the processes");
	while ((pid = tasks_next(processes)))
		consider_process(choosing, pid);
	return 0;
}

static int consider_pidfd(struct choosing *choosing, struct error *error)
{
	const struct cli_processes *options = choosing->options;
	_cleanup_target_ struct target target = TARGET_NONE;
	int rc = options->pidfd < 0 ? 0 : target_open(&target, 0, options->pidfd, error);

	if (rc == 0 && target.pid && is_wanted(choosing, target.pid))
		add_choice(choosing,
			   (struct process_choice){.pid = target.pid, .pidfd = options->pidfd, .named = true});
	return rc;
}

static int consider_named(struct choosing *choosing, struct error *error)
{
	for (const pid_t *pid = choosing->options->pids; pid && *pid; pid++)
		if (is_wanted(choosing, *pid))
			add_choice(choosing, (struct process_choice){.pid = *pid, .pidfd = -1, .named = true});
	return consider_pidfd(choosing, error);
}

static void take_groups(struct choosing *choosing, const struct region_input *input)
{
	for (size_t i = 0; i < input->count; i++)
		if (input->groups[i].pid && is_wanted(choosing, input->groups[i].pid))
			add_choice(choosing, (struct process_choice){.pid = input->groups[i].pid,
								     .starttime = input->groups[i].starttime,
								     .pidfd = -1,
								     .named = true});
}

static int find_choices(struct choosing *choosing, const struct region_input *input, struct error *error)
{
	const struct cli_processes *options = choosing->options;

	if (options->pids || options->pidfd >= 0)
		return consider_named(choosing, error);
	if (input->count && input->groups[input->count - 1].pid)
		take_groups(choosing, input);
	else if (wants_members(options))
		consider_members(choosing);
	else if (options->comms || options->all)
		return consider_all(choosing, error);
	return 0;
}

int choice_find(struct choices *choices, const struct cli_processes *options, const struct region_input *input,
		struct error *error)
{
	struct choosing choosing = {.options = options, .choices = choices};
	int rc = find_members(&choosing, error);

	if (rc == 0)
		rc = find_choices(&choosing, input, error);
	free(choosing.members.items);
	if (rc == 0 && choosing.rc < 0)
		rc = error_set(error, choosing.rc, NULL, NULL, "choose processes");
	return rc;
}

/* The process that has a number in a pid namespace below this one; 0: none, as far as can be seen. */
static pid_t find_inner(pid_t number)
{
	_cleanup_closedir_ DIR *processes = processes_open();
	pid_t pid;

	while (processes && (pid = tasks_next(processes)))
		if (pid != number && proc_innermost_pid(pid) == number)
			return pid;
	return 0;
}

/*
 * Adds a hint to an error about a process that could not be opened, when no process has its number here: which process
 * of another pid namespace has it there, or that numbers in this namespace are others than outside.
 */
static void explain_absent(pid_t pid, struct error *error)
{
	struct stat ours;
	pid_t inner;

	if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH)
		return;
	inner = find_inner(pid);
	if (inner)
		snprintf(error->hint, sizeof(error->hint),
			 "process %d has that number in its own pid namespace: name it by %d", inner, inner);
	else if (stat("/proc/self/ns/pid", &ours) == 0 && ours.st_ino != FIRST_PID_NS)
		snprintf(error->hint, sizeof(error->hint),
			 "in this pid namespace processes have other numbers than outside");
}

int choice_open(const struct process_choice *choice, struct target *target, struct error *error)
{
	int rc = target_open(target, choice->pid, choice->pidfd, error);

	if (rc == -ESRCH)
		explain_absent(choice->pid, error);
	if (rc == 0 && choice->starttime)
		rc = target_matches(target, choice->pid, choice->starttime, error);
	if (rc < 0)
		target_close(target);
	return rc;
}

void choice_free(struct choices *choices)
{
	free(choices->items);
	*choices = (struct choices){0};
}
