/* SPDX-License-Identifier: MIT */
/* Why this process may not look at another one, or trace it, and what to do about it. */
#include "proc/refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/rights.h"

#define YAMA           "/proc/sys/kernel/yama/ptrace_scope"
#define YAMA_ADMIN     2
#define YAMA_NO_ATTACH 3

static int yama_scope(void)
{
	uint64_t scope;

	return fd_read_number_at(AT_FDCWD, YAMA, 10, &scope) < 0 ? 0 : (int)scope;
}

/* The user that a process runs as, and the owner of its files in /proc, which is root when it is not dumpable. */
static bool read_users(const struct target *target, uid_t *user, uid_t *owner)
{
	_cleanup_close_ int fd = target_proc_open(target, "", O_RDONLY | O_DIRECTORY);
	struct stat st;
	uint64_t uid;

	if (fd < 0 || fstatat(fd, "mem", &st, 0) || target_status(target, "Uid", &uid))
		return false;
	*user = (uid_t)uid;
	*owner = st.st_uid;
	return true;
}

/* kernel/ptrace.c and security/commoncap.c, cap_ptrace_access_check. */
static bool has_more_rights(const struct target *target)
{
	_cleanup_close_ int fd = target_proc_open(target, "status", O_RDONLY);
	uint64_t permitted;

	return fd >= 0 && fd_find_number(fd, "CapPrm", 16, &permitted) == 0 && permitted & ~rights_capabilities();
}

static const char *cure_capability(void)
{
	return geteuid() ? "run it as root or as the owner of the process"
			 : "give CAP_SYS_PTRACE (to a container: --cap-add SYS_PTRACE), or run it outside of the "
			   "container";
}

/* Of a user without the capability. */
static size_t list_without_capability(const struct target *target, bool trace, struct refusal *list)
{
	uid_t user = 0, owner = 0;
	bool known = read_users(target, &user, &owner);
	size_t count = 0;
	int scope = trace ? yama_scope() : 0;

	if (known && user != geteuid())
		list[count++] = (struct refusal){"capability", "it is another user's, and CAP_SYS_PTRACE is missing",
						 cure_capability()};
	else if (known && owner != user)
		list[count++] = (struct refusal){
			"dumpable", "it is not dumpable: it changed its user, or asked for that",
			"run as root or with CAP_SYS_PTRACE, or let it call prctl(PR_SET_DUMPABLE, 1)"};
	if (scope)
		list[count++] = (struct refusal){
			"yama",
			scope == YAMA_ADMIN ? "kernel.yama.ptrace_scope is 2: without CAP_SYS_PTRACE nobody may trace"
					    : "kernel.yama.ptrace_scope lets only its parents trace it",
			"sysctl kernel.yama.ptrace_scope=0, or run as root or with CAP_SYS_PTRACE"};
	if (!count)
		list[count++] = (struct refusal){
			"capability",
			has_more_rights(target)
				? "it has capabilities that this program lacks, and CAP_SYS_PTRACE is missing"
				: "it is in another user namespace, and CAP_SYS_PTRACE is missing",
			geteuid() ? "run as root or with CAP_SYS_PTRACE" : cure_capability()};
	return count;
}

size_t refusal_list(const struct target *target, bool trace, struct refusal list[REFUSALS_MAX])
{
	if (trace && yama_scope() >= YAMA_NO_ATTACH)
		*list = (struct refusal){"yama", "kernel.yama.ptrace_scope is 3: nobody may trace",
					 "boot without it; it cannot be lowered while the system runs"};
	else if (!rights_capable(CAP_SYS_PTRACE))
		return list_without_capability(target, trace, list);
	else if (rights_in_user_namespace())
		*list = (struct refusal){"user_namespace",
					 "it is outside of this user namespace, where CAP_SYS_PTRACE does not count",
					 "run in the user namespace of the process, or as root outside"};
	else
		*list = (struct refusal){"security_module", "a security module refuses it", "allow it in its policy"};
	return 1;
}

/* ns/pid takes the right to look, mem that to trace. maps is shown to CAP_PERFMON, too. proc_pid_ns(5). */
static bool is_refused(const struct target *target, bool trace)
{
	_cleanup_close_ int fd = target_proc_open(target, trace ? "mem" : "ns/pid", trace ? O_RDWR : O_RDONLY);

	return fd == -EACCES || fd == -EPERM;
}

static int explain_failure(const struct target *target, int rc, bool trace, const char *what, struct error *error)
{
	struct refusal list[REFUSALS_MAX] = {{0}};

	if (rc == -ESRCH)
		list->why = "it has ended or runs another program now";
	else if ((rc == -EACCES || rc == -EPERM) && is_refused(target, trace))
		refusal_list(target, trace, list);
	return error_set(error, rc, list->why, list->hint, "%s process %d (%s)", what, target->pid, target->name);
}

int refusal_to_look(const struct target *target, int rc, const char *what, struct error *error)
{
	return explain_failure(target, rc, false, what, error);
}

int refusal_to_trace(const struct target *target, int rc, const char *what, struct error *error)
{
	return explain_failure(target, rc, true, what, error);
}
