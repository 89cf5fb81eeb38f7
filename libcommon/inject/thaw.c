/* SPDX-License-Identifier: MIT */
/* Moving a frozen process out of its cgroup and back. */
#include "inject/thaw.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "inject/threads.h"
#include "inject/written.h"

#define REMOVE_TRIES 1000 /* milliseconds until the cgroup has forgotten the process */

struct inject_thaw {
	struct inject_threads others;
	int home;   /* cgroup.procs of where it belongs */
	int parent; /* the directory in which the other cgroup is made */
	int life;   /* while it is open the guardian waits */
	pid_t guardian;
	char name[32]; /* of the other cgroup */
	char pid[16];  /* as cgroup.procs reads it */
};

static bool says_frozen(int directory)
{
	char text[2];

	return fd_read_text_at(directory, "cgroup.freeze", text, sizeof(text)) == 1 && *text == '1';
}

/*
 * The directory above the topmost cgroup that is frozen, of a process's cgroup and those above it. Returns a
 * descriptor, or -ENOTSUP.
 */
static int above_frozen(int directory)
{
	int at = fcntl(directory, F_DUPFD_CLOEXEC, 0), found = -ENOTSUP;

	/* The root has no cgroup.freeze. */
	while (at >= 0 && faccessat(at, "cgroup.freeze", F_OK, 0) == 0) {
		int up = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (says_frozen(at)) {
			cleanup_close(&found);
			found = fcntl(up, F_DUPFD_CLOEXEC, 0);
		}
		close(at);
		at = up;
	}
	cleanup_close(&at);
	return found;
}

static int move_process(int procs, const char *pid)
{
	return write(procs, pid, strlen(pid)) < 0 ? -errno : 0;
}

/* A process that has just left is counted for a moment longer. */
static void remove_cgroup(const struct inject_thaw *thaw)
{
	for (int i = 0; i < REMOVE_TRIES && unlinkat(thaw->parent, thaw->name, AT_REMOVEDIR) < 0 && errno == EBUSY; i++)
		usleep(1000);
}

/* In a process of its own: waits for the end of the one that injects. After "done" there is nothing left to do. */
static void guard_process(const struct inject_thaw *thaw, int life)
{
	sigset_t all;
	char done;

	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	close(thaw->life);
	if (read(life, &done, 1) != 1) {
		move_process(thaw->home, thaw->pid);
		remove_cgroup(thaw);
	}
	_exit(0);
}

static int start_guardian(struct inject_thaw *thaw)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	thaw->life = ends[1];
	thaw->guardian = fork();
	if (thaw->guardian == 0)
		guard_process(thaw, ends[0]);
	close(ends[0]);
	return thaw->guardian < 0 ? -errno : 0;
}

static int open_cgroups(const struct target *target, struct inject_thaw *thaw)
{
	_cleanup_close_ int directory = cgroup_of(target, NULL);

	if (directory < 0)
		return -ENOTSUP;
	thaw->parent = above_frozen(directory);
	if (thaw->parent < 0)
		return thaw->parent;
	thaw->home = openat(directory, inject_cgroup_procs, O_WRONLY | O_CLOEXEC);
	snprintf(thaw->pid, sizeof(thaw->pid), "%d", target->pid);
	snprintf(thaw->name, sizeof(thaw->name), "uvmtools-thaw-%d", target->pid);
	return thaw->home < 0 ? -errno : 0;
}

static int leave_home(struct inject_thaw *thaw)
{
	_cleanup_close_ int directory = -1;
	_cleanup_close_ int procs = -1;

	if (mkdirat(thaw->parent, thaw->name, 0755) < 0 && errno != EEXIST)
		return -errno;
	directory = openat(thaw->parent, thaw->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	procs = directory < 0 ? -1 : openat(directory, inject_cgroup_procs, O_WRONLY | O_CLOEXEC);
	return procs < 0 ? -errno : move_process(procs, thaw->pid);
}

int inject_thaw_begin(struct inject *inject, struct inject_thaw **result)
{
	struct inject_thaw *thaw = calloc(1, sizeof(*thaw));
	int rc;

	if (!thaw)
		return -ENOMEM;
	thaw->home = thaw->parent = thaw->life = -1;
	rc = open_cgroups(inject->target, thaw);
	if (rc == 0)
		rc = inject_stop_others(inject, &thaw->others);
	if (rc == 0 && thaw->others.missed)
		rc = -EBUSY;
	if (rc == 0)
		rc = start_guardian(thaw);
	if (rc == 0)
		rc = leave_home(thaw);
	if (rc < 0) {
		inject_thaw_end(thaw);
		return rc;
	}
	*result = thaw;
	return 0;
}

int inject_thaw_end(struct inject_thaw *thaw)
{
	int rc = 0;

	if (!thaw)
		return 0;
	if (thaw->guardian > 0) {
		rc = move_process(thaw->home, thaw->pid);
		rc = rc == -ESRCH ? 0 : rc;
		remove_cgroup(thaw);
		if (write(thaw->life, "", 1) != 1)
			kill(thaw->guardian, SIGKILL);
		waitpid(thaw->guardian, NULL, 0);
	}
	while (inject_release_others(&thaw->others) > 0)
		usleep(1000);
	cleanup_close(&thaw->life);
	cleanup_close(&thaw->home);
	cleanup_close(&thaw->parent);
	free(thaw);
	return rc;
}
