/* SPDX-License-Identifier: MIT */
/* Opening a target, and making sure that what is read is about it and not about a later owner of its pid. */
#include "proc/target.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "proc/stat.h"
#include "proc/tasks.h"

#define GONE         "no such process"
#define END_LOOKS    5
#define AGENT_THREAD "uvm-agent" /* agent/protocol.h */
#define END_LOOK_MS  10
#define THREAD_TRIES 100 /* at threads that end while they are inspected */

/* /proc may be that of another pid namespace, or be missing: -EINVAL. Another -errno: that could not be told. */
static int check_proc(void)
{
	char link[32] = "";

	if (readlink("/proc/self", link, sizeof(link) - 1) < 0)
		return errno == ENOENT || errno == ENOTDIR ? -EINVAL : -errno;
	return strtol(link, NULL, 10) == getpid() ? 0 : -EINVAL;
}

static int pid_of_pidfd(int pidfd, pid_t *pid, struct error *error)
{
	char path[64];
	_cleanup_close_ int info = -1;
	uint64_t number;
	int found;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0 && errno == ENOENT)
		return error_set(error, -EINVAL, "no such descriptor is open", "let the shell pass it on",
				 "use descriptor %d as a pidfd", pidfd);
	if (info < 0)
		return error_set(error, -errno, NULL, NULL, "use descriptor %d as a pidfd", pidfd);
	found = fd_find_number(info, "Pid", 10, &number);
	if (found == -ENOENT)
		return error_set(error, -EINVAL, "it is not a pidfd", NULL, "use descriptor %d as a pidfd", pidfd);
	if (found < 0)
		return error_set(error, found, NULL, NULL, "use descriptor %d as a pidfd", pidfd);
	found = (int)number; /* -1 is one that has ended */
	if (found < 1)
		return error_set(error, -ESRCH,
				 found ? "the process has ended" : "its process is in another pid namespace", NULL,
				 "use descriptor %d as a pidfd", pidfd);
	*pid = found;
	return 0;
}

static int open_pidfd(pid_t pid, struct error *error)
{
	int fd = pidfd_of(pid);

	if (fd >= 0)
		return fd;
	/* A thread that does not lead its group: EINVAL before Linux 6.9, ENOENT since. */
	if (fd == -EINVAL || fd == -ENOENT)
		return error_set(error, -EINVAL, "it is a thread, not a process", "name the process it belongs to",
				 "open process %d", pid);
	return error_set(error, fd, fd == -ESRCH ? GONE : NULL, NULL, "open process %d", pid);
}

static void read_name(struct target *target)
{
	char name[PROC_NAME];

	proc_name_read(target->pid, name);
	snprintf(target->name, sizeof(target->name), "%.15s", name);
}

/* Whether it has been told to end with its process (zap_other_threads of kernel/signal.c), or is about to. */
static bool is_thread_ending(pid_t tid)
{
	struct proc_stat stat;
	uint64_t pending = 0;
	int rc;

	if (proc_stat_read(tid, &stat) < 0 || proc_stat_is_exiting(&stat))
		return true;
	rc = proc_status_read(tid, "SigPnd", 16, &pending);
	return (rc < 0 && rc != -ENOENT) || pending & UINT64_C(1) << (SIGKILL - 1);
}

static bool is_any_running_on(const struct target *target)
{
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	pid_t tid;

	if (!tasks)
		return false;
	while ((tid = tasks_next(tasks)))
		if (!is_thread_ending(tid))
			return true;
	return false;
}

/* Between the signal and the mark of the end a thread looks as ever, so they are inspected for a while. */
static bool runs_on(const struct target *target)
{
	for (unsigned int i = 0; i < END_LOOKS; i++) {
		if (!is_any_running_on(target))
			return false;
		target_ends(target, END_LOOK_MS);
	}
	return target_alive(target);
}

/* A pidfd tells of the end of all threads, pidfd_open(2). */
static int check_zombie(const struct target *target, struct error *error)
{
	if (!target_alive(target))
		return error_set(error, -ESRCH, "it is a zombie: it has ended, and its parent has not waited for it",
				 NULL, "open process %d", target->pid);
	if (runs_on(target))
		return 0;
	return error_set(error, -ESRCH, "it is being ended", NULL, "open process %d", target->pid);
}

/* It lives, and /proc does not show it: proc(5), hidepid. */
static bool is_hidden(const struct target *target)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", target->pid);
	return access(path, F_OK) < 0 && kill(target->pid, 0) < 0 && errno == EPERM && target_alive(target);
}

/* Fills what is known by pid, then proves that it was this process's. */
static int identify_process(struct target *target, struct error *error)
{
	struct proc_stat stat = {0};
	uint64_t leader = 0;
	int result = proc_stat_read(target->pid, &stat);

	if (!result)
		result = target_status(target, "Tgid", &leader);
	if (!result && leader != (uint64_t)target->pid)
		return error_set(error, -EINVAL, "it is a thread, not a process", "name the process it belongs to",
				 "open process %d", target->pid);
	if (!result)
		read_name(target);
	/* Of one that has ended the files cannot be read as those of a target. */
	if ((!result || result == -ESRCH) && (stat.state == 'Z' || stat.state == 'X')) {
		result = check_zombie(target, error);
		if (result)
			return result;
	}
	if (result == -ESRCH && is_hidden(target))
		return error_set(error, -EACCES, "/proc hides it (hidepid), as it does all processes of other users",
				 "run it as root or as the owner of the process", "open process %d", target->pid);
	if (!result && !target_alive(target))
		result = -ESRCH;
	if (result)
		return error_set(error, result, result == -ESRCH ? GONE : NULL, NULL, "open process %d", target->pid);
	target->starttime = stat.starttime;
	return 0;
}

int target_open(struct target *target, pid_t pid, int pidfd, struct error *error)
{
	int result;

	*target = TARGET_NONE;
	result = check_proc();
	if (result == -EINVAL)
		return error_set(error, result, "/proc is that of another pid namespace, or not mounted",
				 "mount that of this one (unshare --mount-proc does)", "look for processes");
	if (result < 0)
		return error_set(error, result, NULL, NULL, "read /proc/self");
	if (pidfd >= 0) {
		result = pid_of_pidfd(pidfd, &pid, error);
		if (result)
			return result;
		target->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
		if (target->pidfd < 0)
			return error_set(error, -errno, NULL, NULL, "duplicate descriptor %d", pidfd);
	} else {
		target->pidfd = open_pidfd(pid, error);
		if (target->pidfd < 0) {
			result = target->pidfd;
			*target = TARGET_NONE;
			return result;
		}
	}
	target->pid = pid;
	result = identify_process(target, error);
	if (result)
		target_close(target);
	return result;
}

void target_close(struct target *target)
{
	cleanup_close(&target->pidfd);
	*target = TARGET_NONE;
}

bool target_is_puppet(pid_t pid)
{
	static const char *const names[] = {TARGET_PUPPET, TARGET_CACHE_PUPPET, TARGET_MOVE_PUPPET, TARGET_MAP_PUPPET};
	char name[PROC_NAME];
	bool found = false;

	proc_name_read(pid, name);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		found |= strcmp(name, names[i]) == 0;
	return found;
}

bool target_alive(const struct target *target)
{
	return !pidfd_ends(target->pidfd, 0); /* an end that cannot be asked for is no end */
}

bool target_ends(const struct target *target, int ms)
{
	return pidfd_ends(target->pidfd, ms);
}

bool target_gone(pid_t pid, uint64_t starttime)
{
	struct target target = {.pid = pid, .pidfd = -1};
	struct proc_stat stat;
	bool gone;

	if (kill(pid, 0) < 0 && errno == ESRCH)
		return true;
	if (check_proc() < 0)
		return false;
	target.pidfd = pidfd_of(pid);
	if (target.pidfd < 0)
		return target.pidfd == -EINVAL || target.pidfd == -ENOENT; /* a thread has the number now, no process */
	gone = proc_stat_read(pid, &stat) == 0 && (stat.starttime != starttime || !target_alive(&target));
	close(target.pidfd);
	return gone;
}

int target_matches(const struct target *target, pid_t pid, uint64_t starttime, struct error *error)
{
	char why[100];

	if (pid && pid != target->pid) {
		snprintf(why, sizeof(why), "its records are of process %d", pid);
		return error_set(error, -ESTALE, why, "name that process, or list the regions of this one",
				 "use the regions for process %d", target->pid);
	}
	if (starttime && starttime != target->starttime)
		return error_set(error, -ESTALE, "its records are of an earlier process with this pid",
				 "list the regions of this one", "use the regions for process %d", target->pid);
	return 0;
}

static bool is_of_agent(pid_t tid)
{
	char name[PROC_NAME];

	return proc_name_read(tid, name) > 0 && strcmp(name, AGENT_THREAD) == 0;
}

pid_t target_thread(const struct target *target)
{
	_cleanup_closedir_ DIR *tasks = NULL;
	struct proc_stat stat;

	if (proc_stat_read_thread(target->pid, target->pid, &stat) < 0 || !proc_stat_is_exiting(&stat))
		return target->pid;
	tasks = tasks_open(target);
	for (pid_t tid; tasks && (tid = tasks_next(tasks)) > 0;)
		if (proc_stat_read_thread(target->pid, tid, &stat) == 0 && !proc_stat_is_exiting(&stat) &&
		    !is_of_agent(tid))
			return tid;
	return target->pid;
}

/*
 * Of threads and of the process as a whole the main thread's directory tells when that has ended, too. Returns the
 * thread whose directory it is, or -ENAMETOOLONG.
 */
static pid_t path_of(const struct target *target, const char *name, char *path, size_t size)
{
	pid_t thread = strncmp(name, "task", strlen("task")) == 0 ? target->pid : target_thread(target);
	int length = thread == target->pid ? snprintf(path, size, "/proc/%d/%s", target->pid, name)
					   : snprintf(path, size, "/proc/%d/task/%d/%s", target->pid, thread, name);

	return (size_t)length < size ? thread : -ENAMETOOLONG;
}

int target_proc_open(const struct target *target, const char *name, int flags)
{
	for (unsigned int tries = 0;; tries++) {
		char path[300];
		pid_t thread = path_of(target, name, path, sizeof(path));
		_cleanup_close_ int fd = thread < 0 ? -1 : open(path, flags | O_CLOEXEC);
		int failed = thread < 0 ? -thread : errno;

		/* A process that is alive now was alive at the open, so its pid was nobody else's then. */
		if (!target_alive(target))
			return -ESRCH;
		if (fd >= 0)
			return steal_fd(&fd);
		if (failed != ENOENT || thread == target->pid || tries == THREAD_TRIES)
			return -failed;
	}
}

ssize_t target_file_read(const struct target *target, const char *name, char *text, size_t size)
{
	_cleanup_close_ int fd = target_proc_open(target, name, O_RDONLY);

	*text = '\0';
	return fd < 0 ? fd : fd_read_text(fd, text, size);
}

/* Returns 0, -ENOENT without such a field, -ESRCH when the thread has ended whose file it is, or as target_proc_open.
 */
static int read_status(const struct target *target, const char *field, uint64_t *value)
{
	_cleanup_close_ int fd = target_proc_open(target, "status", O_RDONLY);
	int rc = fd < 0 ? fd : fd_find_number(fd, field, 10, value);

	return fd < 0 || rc == 0 || rc == -ENOENT ? rc : -ESRCH;
}

int target_status(const struct target *target, const char *field, uint64_t *value)
{
	for (unsigned int tries = 0;; tries++) {
		int rc = read_status(target, field, value);

		if (rc == 0)
			return 0;
		if (!target_alive(target))
			return -ESRCH;
		if (rc != -ESRCH || tries == THREAD_TRIES)
			return rc;
	}
}

int target_status_bytes(const struct target *target, const char *field, uint64_t *bytes)
{
	int rc = target_status(target, field, bytes);

	if (rc == 0)
		*bytes *= KiB;
	return rc;
}
