/* SPDX-License-Identifier: MIT */
/* /run/uvmtools and /var/lib/uvmtools for root, XDG directories for everybody else. */

#include "state/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "index/index.h"

#define STAT_TRIES      20
#define REMOVE_TRIES    10
#define REMOVE_AGAIN_US 5000

int paths_make_directory(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int sessions_path(char path[256])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(path, 256, "/run/uvmtools");
	else if (runtime && *runtime == '/')
		snprintf(path, 256, "%s/uvmtools", runtime);
	else
		return -ENOENT;
	return 0;
}

/* A directory that another user could have made must not be trusted. */
static int open_own(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int rc;

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 && st.st_uid == geteuid() && !(st.st_mode & 022))
		return fd;
	close(fd);
	return rc < 0 ? rc : -EACCES;
}

int paths_sessions(struct error *error)
{
	char path[256];
	int rc = sessions_path(path);

	if (rc < 0)
		return error_set(error, rc, "XDG_RUNTIME_DIR is not set", "set it, or run as root",
				 "find the directory of sessions");
	rc = paths_make_directory(path);
	if (rc == 0)
		rc = open_own(path);
	if (rc < 0)
		return error_set(error, rc, rc == -EACCES ? "it is not this user's alone" : NULL, NULL, "open %s",
				 path);
	return rc;
}

const char *paths_name(char name[SESSION_NAME], pid_t pid, uint64_t starttime)
{
	snprintf(name, SESSION_NAME, "%d.%" PRIu64, pid, starttime);
	return name;
}

struct sockaddr_un paths_control(int directory)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control", directory);
	return address;
}

int paths_read_header(int directory, struct index_header *header)
{
	_cleanup_close_ int fd = openat(directory, "index", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (pread(fd, header, sizeof(*header), 0) != sizeof(*header) || !index_is_header(header) ||
	    !memchr(header->session.store.path, '\0', sizeof(header->session.store.path)) ||
	    !memchr(header->session.identity.boot, '\0', sizeof(header->session.identity.boot)))
		return -EBADMSG;
	return 0;
}

/* A failure for want of memory says nothing of what is there. */
static bool stat_patiently(int directory, const char *name, int flags, struct stat *stat)
{
	int rc = fstatat(directory, name, stat, flags);

	for (int tries = 0; rc < 0 && errno != ENOENT && tries < STAT_TRIES; tries++)
		rc = fstatat(directory, name, stat, flags);
	return rc == 0;
}

bool paths_is(int sessions, const char *name, int directory)
{
	struct stat named;
	struct stat open;

	return stat_patiently(sessions, name, AT_SYMLINK_NOFOLLOW, &named) &&
	       stat_patiently(directory, "", AT_EMPTY_PATH, &open) && named.st_dev == open.st_dev &&
	       named.st_ino == open.st_ino;
}

/* Whether it lies where paths_store puts the one of this session: what else an index names is not touched. */
static bool is_store_of(const char *path, const char *name)
{
	const char *base = strrchr(path, '/');
	size_t length = strlen(name);
	size_t end = strlen(path);

	return base && strncmp(base + 1, name, length) == 0 && base[1 + length] == '.' && end > strlen(STORE_SUFFIX) &&
	       strcmp(path + end - strlen(STORE_SUFFIX), STORE_SUFFIX) == 0;
}

/* Nothing tells of it when the index is gone. */
static void unlink_store(const char *path)
{
	for (int tries = 0; unlink(path) < 0 && errno != ENOENT && tries < REMOVE_TRIES; tries++)
		usleep(REMOVE_AGAIN_US);
}

void paths_empty_session(int sessions, const char *name)
{
	_cleanup_close_ int directory = openat(sessions, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct index_header header;

	if (directory < 0)
		return;
	if (paths_read_header(directory, &header) == 0 && is_store_of(header.session.store.path, name))
		unlink_store(header.session.store.path);
	unlinkat(directory, "control", 0);
	unlinkat(directory, "index", 0);
}

void paths_remove_session(int sessions, const char *name)
{
	for (int tries = 0; tries < REMOVE_TRIES; tries++) {
		if (tries)
			usleep(REMOVE_AGAIN_US);
		paths_empty_session(sessions, name);
		if (unlinkat(sessions, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return;
	}
}

void paths_remove(struct session_files *files)
{
	if (files->removed)
		return;
	files->removed = true;
	if (files->directory >= 0 && !paths_is(files->sessions, files->name, files->directory))
		return; /* another session stands in its place */
	paths_remove_session(files->sessions, files->name);
	if (strchr(files->store, '/'))
		unlink(files->store); /* when the index was not made yet */
}
