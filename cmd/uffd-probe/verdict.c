/* SPDX-License-Identifier: MIT */
/* Whether the tools could work on a process, and each obstacle with its cure. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/rights.h"
#include "probe.h"
#include "proc/refusal.h"
#include "proc/stat.h"
#include "uffd/uapi.h"

#define SECCOMP_STRICT 1

/* Which tools an obstacle is in the way of. */
enum tools {
	SWAPCTL = 1 << 0,
	UFFD_MOVE = 1 << 1,
	BOTH = SWAPCTL | UFFD_MOVE
};

static const char *const tool_names[] = {"swapctl", "uffd-move"};

static const struct report_column verdict_columns[] = {
	{"tool", "TOOL", COLUMN_TEXT},
	{"usable", "USABLE", COLUMN_TEXT},
	{"obstacles", "OBSTACLES", COLUMN_PROSE},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct report_column obstacle_columns[] = {
	{"obstacle", "OBSTACLE", COLUMN_TEXT}, {"tools", "TOOLS", COLUMN_TEXT}, {"reason", "REASON", COLUMN_PROSE},
	{"hint", "CURE", COLUMN_PROSE},        {NULL, NULL, COLUMN_TEXT},
};

struct verdicts {
	struct probe *probe;
	const struct target *target;
	struct findings findings;
	json_t *obstacles[ARRAY_SIZE(tool_names)]; /* names */
};

static void add_once(json_t *names, const char *name)
{
	const json_t *known;
	size_t index;

	json_array_foreach(names, index, known) {
		if (!strcmp(json_string_value(known), name))
			return;
	}
	json_array_append_new(names, json_string(name));
}

static void add_obstacle(struct verdicts *verdicts, unsigned int tools, const char *name, const char *reason,
			 const char *cure)
{
	json_t *record =
		json_pack("{s:s, s:i, s:I, s:s, s:o, s:s, s:s*}", "type", "obstacle", "pid", verdicts->target->pid,
			  "starttime", (json_int_t)verdicts->target->starttime, "obstacle", name, "tools",
			  report_flags(tools, tool_names, ARRAY_SIZE(tool_names)), "reason", reason, "hint", cure);

	for (size_t i = 0; i < ARRAY_SIZE(tool_names); i++)
		if (tools >> i & 1)
			add_once(verdicts->obstacles[i], name);
	probe_record(verdicts->probe, record);
}

static uint64_t status_of(const struct target *target, const char *field)
{
	uint64_t value = 0;

	target_status(target, field, &value);
	return value;
}

static void check_architecture(struct verdicts *verdicts)
{
	struct error error = {0};

	/* Of what is left here only another architecture is invalid. */
	if (target_check(verdicts->target, &error) == -EINVAL)
		add_obstacle(verdicts, BOTH, "architecture", error.why, *error.hint ? error.hint : NULL);
}

static void check_tracer(struct verdicts *verdicts)
{
	pid_t tracer = (pid_t)status_of(verdicts->target, "TracerPid");
	char name[PROC_NAME], why[80];

	if (!tracer)
		return;
	proc_name_read(tracer, name);
	snprintf(why, sizeof(why), "it is being traced by %s (%d)", *name ? name : "a process", tracer);
	add_obstacle(verdicts, BOTH, "traced", why, "detach the tracer first");
}

/* What came of trying a facility: 0, or -errno with `error`, which may be NULL, filled. */
static int facility_code(const struct findings *findings, const char *name, struct error *error)
{
	for (size_t i = 0; i < FACILITIES; i++)
		if (!strcmp(facilities[i].name, name))
			return findings->facility[i] ? facility_explain(i, findings->facility[i], error) : 0;
	return -ENOENT;
}

static void check_seccomp(struct verdicts *verdicts)
{
	uint64_t mode = status_of(verdicts->target, "Seccomp");
	struct error error = {0};

	if (mode == SECCOMP_STRICT) {
		add_obstacle(verdicts, BOTH, "seccomp",
			     "it is in seccomp strict mode, which allows no system call of ours", NULL);
		return;
	}
	if (mode && facility_code(&verdicts->findings, "ptrace_suspend_seccomp", &error))
		add_obstacle(verdicts, BOTH, "seccomp",
			     "it runs under a seccomp filter, which this user cannot suspend", error.hint);
}

static void check_ptrace(struct verdicts *verdicts)
{
	_cleanup_close_ int fd = target_proc_open(verdicts->target, "mem", O_RDWR);
	struct refusal list[REFUSALS_MAX];
	size_t count;

	if (fd != -EACCES && fd != -EPERM)
		return;
	count = refusal_list(verdicts->target, true, list);
	for (size_t i = 0; i < count; i++)
		add_obstacle(verdicts, BOTH, list[i].obstacle, list[i].why, list[i].hint);
}

static bool same_user_namespace(const struct target *target)
{
	_cleanup_close_ int fd = target_proc_open(target, "ns/user", O_RDONLY);
	struct stat ours, its;

	if (fd < 0 || fstat(fd, &its) || stat("/proc/self/ns/user", &ours))
		return true;
	return ours.st_ino == its.st_ino && ours.st_dev == its.st_dev;
}

static bool has_capability(const struct target *target, unsigned int capability)
{
	_cleanup_close_ int fd = target_proc_open(target, "status", O_RDONLY);
	uint64_t effective;

	return fd >= 0 && fd_find_number(fd, "CapEff", 16, &effective) == 0 && effective >> capability & 1;
}

/*
 * The descriptor is made inside the process: by our /dev/userfaultfd, else by its own userfaultfd(2), which must get
 * kernel-mode faults too.
 */
static void check_descriptor(struct verdicts *verdicts)
{
	static const char cure[] =
		"let this user read and write /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1";
	bool capable = has_capability(verdicts->target, CAP_SYS_PTRACE);

	if (!verdicts->findings.route[UFFD_ROUTE_DEVICE] || uffd_sysctl() == 1)
		return;
	if (capable && same_user_namespace(verdicts->target) && !rights_in_user_namespace())
		return;
	if (capable)
		add_obstacle(
			verdicts, BOTH, "user_namespace",
			"/dev/userfaultfd cannot be used, and its own CAP_SYS_PTRACE counts only in its user namespace",
			cure);
	else
		add_obstacle(verdicts, BOTH, "userfaultfd",
			     "/dev/userfaultfd cannot be used, and vm.unprivileged_userfaultfd is 0", cure);
}

/* What swapctl enables; moving needs the ioctl or, the older way, mremap(2). */
static void check_kernel(struct verdicts *verdicts)
{
	const uint64_t needed = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
				UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON |
				UFFD_FEATURE_SIGBUS;
	const struct findings *findings = &verdicts->findings;

	if (facility_code(findings, "pidfd_getfd", NULL) == -ENOSYS)
		add_obstacle(verdicts, BOTH, "kernel", "this kernel does not have pidfd_getfd(2)",
			     "run Linux 5.6 or newer");
	if (!findings->asked)
		return;
	if (needed & ~findings->offered)
		add_obstacle(verdicts, SWAPCTL, "kernel", "this kernel does not offer all features that it needs",
			     "run Linux 6.8 or newer");
	if (!(findings->offered & UFFD_FEATURE_MOVE) && facility_code(findings, "mremap_dontunmap", NULL))
		add_obstacle(verdicts, UFFD_MOVE, "kernel", "this kernel has neither UFFDIO_MOVE nor MREMAP_DONTUNMAP",
			     "run Linux 5.7 or newer");
	if (findings->feature[__builtin_ctz(UFFD_FEATURE_EVENT_FORK)] == -EPERM)
		add_obstacle(verdicts, SWAPCTL, "capability", "fork events take CAP_SYS_PTRACE, which is missing",
			     "run as root or with CAP_SYS_PTRACE");
}

static int emit_conclusions(struct verdicts *verdicts)
{
	int code = probe_table(verdicts->probe, "verdict", verdict_columns);

	for (size_t i = 0; !code && i < ARRAY_SIZE(tool_names); i++)
		probe_record(verdicts->probe,
			     json_pack("{s:s, s:i, s:I, s:s, s:b, s:O}", "type", "verdict", "pid",
				       verdicts->target->pid, "starttime", (json_int_t)verdicts->target->starttime,
				       "tool", tool_names[i], "usable", json_array_size(verdicts->obstacles[i]) == 0,
				       "obstacles", verdicts->obstacles[i]));
	return code;
}

int emit_verdicts(struct probe *probe, const struct target *target)
{
	struct verdicts verdicts = {.probe = probe, .target = target, .obstacles = {json_array(), json_array()}};
	int code = probe_table(probe, "obstacle", obstacle_columns);

	findings_make(&verdicts.findings);
	if (!code) {
		check_architecture(&verdicts);
		check_tracer(&verdicts);
		check_seccomp(&verdicts);
		check_ptrace(&verdicts);
		check_descriptor(&verdicts);
		check_kernel(&verdicts);
		code = emit_conclusions(&verdicts);
	}
	for (size_t i = 0; i < ARRAY_SIZE(tool_names); i++)
		json_decref(verdicts.obstacles[i]);
	return code;
}
