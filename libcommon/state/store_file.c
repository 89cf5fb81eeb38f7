/* SPDX-License-Identifier: MIT */
/* The file of a store: /var/lib/uvmtools for root, a directory of XDG for everybody else, or one that was chosen. */
#include "state/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/boot.h"
#include "state/leftovers.h"
#include "state/paths.h"

#define TRIAL_BYTES (1 * MiB) /* a store that cannot take this much is full */

static int default_store(char path[256])
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (geteuid() == 0)
		snprintf(path, 256, "/var/lib/uvmtools");
	else if (state && *state == '/')
		snprintf(path, 256, "%s/uvmtools", state);
	else if (home && *home == '/')
		snprintf(path, 256, "%s/.local/state/uvmtools", home);
	else
		return -ENOENT;
	return paths_make_directory(path);
}

/* Ours, or one that is made for everybody (sticky, as /tmp). */
static int check_store_directory(const char *path, struct error *error)
{
	struct stat st;
	int rc = stat(path, &st) < 0 ? -errno : 0;

	if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR)
		return error_set(error, rc, NULL, NULL, "keep the store in %s", path);
	if (rc < 0 || !S_ISDIR(st.st_mode))
		return error_set(error, -EINVAL, "there is no such directory",
				 "make it, or choose another with --store", "keep the store in %s", path);
	if (st.st_uid != geteuid() && !(st.st_mode & S_ISVTX))
		return error_set(error, -EACCES, "the directory is another user's",
				 "choose one of this user's with --store", "keep the store in %s", path);
	return 0;
}

/* Returns a descriptor or -errno. */
static int make_store(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return -errno;
	flock(fd, LOCK_EX | LOCK_NB); /* where there are no locks, there are none to be seen */
	rc = -posix_fallocate(fd, 0, TRIAL_BYTES);
	if (rc == 0 && ftruncate(fd, 0) == 0)
		return steal_fd(&fd);
	unlink(path);
	return rc < 0 ? rc : -EIO;
}

int store_file_new(const char *directory, const char *name, char path[256], struct error *error)
{
	char chosen[256];
	char boot[BOOT_ID];
	int fd;
	int rc;

	if (directory && strcmp(directory, "memory") == 0) {
		snprintf(path, 256, "memory");
		fd = memfd_create("uvmtools-store", MFD_CLOEXEC);
		return fd < 0 ? error_set(error, -errno, NULL, NULL, "make a store in memory") : fd;
	}
	if (directory)
		snprintf(chosen, sizeof(chosen), "%s", directory);
	rc = directory ? 0 : default_store(chosen);
	if (rc < 0)
		return error_set(error, rc, NULL, "choose a directory with --store",
				 "make the default store directory");
	rc = check_store_directory(chosen, error);
	if (rc < 0)
		return rc;
	leftovers_remove_stores(chosen);
	boot_id(boot);
	if (snprintf(path, 256, "%s/%s.%.8s.store", chosen, name, *boot ? boot : STORE_ANY_BOOT) >= 256)
		return error_set(error, -EINVAL, "the path is too long", NULL, "keep the store in %s", chosen);
	fd = make_store(path);
	if (fd >= 0)
		return fd;
	return error_set(error, fd, fd == -ENOSPC ? "its file system is full" : NULL,
			 fd == -EEXIST ? "remove it when no session uses it" : "choose another with --store",
			 "make the store %s", path);
}
