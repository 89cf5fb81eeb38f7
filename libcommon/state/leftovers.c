/* SPDX-License-Identifier: MIT */

#include "state/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/method.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "index/index.h"
#include "proc/boot.h"
#include "proc/tasks.h"
#include "state/paths.h"

#define BOOT_DIGITS 8 /* of the boot's number, in the name of a store */

static bool parse_name(const char *name, pid_t *pid, uint64_t *starttime)
{
	char again[SESSION_NAME];

	return sscanf(name, "%d.%" SCNu64, pid, starttime) == 2 && *pid > 0 &&
	       strcmp(paths_name(again, *pid, *starttime), name) == 0;
}

/* Before there is an index nothing is out. */
static bool means_us(int sessions, const char *name)
{
	_cleanup_close_ int directory = openat(sessions, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct index_header header;
	char boot[BOOT_ID];
	int rc;

	if (directory < 0)
		return false;
	rc = paths_read_header(directory, &header);
	if (rc < 0)
		return rc == -ENOENT;
	if (boot_id(boot) && *header.session.identity.boot && strcmp(boot, header.session.identity.boot) != 0)
		return true; /* no process has outlived that boot */
	return header.session.identity.pid_namespace && header.session.identity.pid_namespace == pid_namespace();
}

bool leftovers_is_gone(int sessions, const char *name)
{
	uint64_t starttime;
	pid_t pid;

	return parse_name(name, &pid, &starttime) && target_gone(pid, starttime) && means_us(sessions, name);
}

/* The processes that serve it have it locked, and so has the one that makes it. */
static void remove_session(int sessions, const char *name)
{
	_cleanup_close_ int directory = openat(sessions, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (directory >= 0 && flock(directory, LOCK_EX | LOCK_NB) == 0 && paths_is(sessions, name, directory))
		paths_remove_session(sessions, name);
}

void leftovers_remove_sessions(int sessions)
{
	_cleanup_closedir_ DIR *dir = fd_directory(openat(sessions, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (leftovers_is_gone(sessions, entry->d_name))
			remove_session(sessions, entry->d_name);
}

/* PID.STARTTIME.BOOT.store, of another boot than this one. */
static bool is_of_earlier_boot(const char *name, const char *boot)
{
	size_t length = strlen(name);
	size_t tail = 1 + BOOT_DIGITS + strlen(STORE_SUFFIX);
	char session[SESSION_NAME] = "";
	uint64_t starttime;
	const char *digits;
	pid_t pid;

	if (length <= tail || length - tail >= sizeof(session))
		return false;
	memcpy(session, name, length - tail);
	digits = name + length - tail + 1;
	return digits[-1] == '.' && strcmp(digits + BOOT_DIGITS, STORE_SUFFIX) == 0 &&
	       strspn(digits, "0123456789abcdef") == BOOT_DIGITS && parse_name(session, &pid, &starttime) &&
	       strncmp(digits, boot, BOOT_DIGITS) != 0 && strncmp(digits, STORE_ANY_BOOT, BOOT_DIGITS) != 0 &&
	       target_gone(pid, starttime);
}

/* A container may have been given a boot of its own: what is open in a session is locked. */
static void remove_store(int directory, const char *name)
{
	_cleanup_close_ int fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(directory, name, 0);
}

void leftovers_remove_stores(const char *directory)
{
	_cleanup_closedir_ DIR *dir = opendir(directory);
	char boot[BOOT_ID];

	if (!dir || !boot_id(boot))
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (is_of_earlier_boot(entry->d_name, boot))
			remove_store(dirfd(dir), entry->d_name);
}

/* Returns 1 when a thread has it there, 0 when it has none or something else, -errno when that cannot be told. */
static int is_held_by(const struct target *target, pid_t tid, int number)
{
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "/proc/%d/task/%d/fd/%d", target->pid, tid, number);
	rc = uffd_link_is(AT_FDCWD, name);
	return rc == -ENOENT ? 0 : rc;
}

bool leftovers_matter(int sessions, const char *name, const struct target *target)
{
	_cleanup_close_ int directory = openat(sessions, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_closedir_ DIR *tasks = tasks_open(target);
	struct index_header header;
	int rc;

	if (directory < 0 || !tasks)
		return true;
	rc = paths_read_header(directory, &header);
	if (rc < 0)
		return rc != -ENOENT;
	if (header.session.target.uffd_holder <= 0)
		return false;
	if (header.session.target.access == ACCESS_PUPPET)
		return is_held_by(&(struct target){.pid = header.session.target.puppet.pid},
				  header.session.target.puppet.pid, header.session.target.uffd_number) != 0;
	/* A thread may have descriptors of its own, and the one that had it may have ended. */
	for (pid_t tid; (tid = tasks_next(tasks)) > 0;)
		if (is_held_by(target, tid, header.session.target.uffd_number) != 0)
			return true;
	return false;
}
