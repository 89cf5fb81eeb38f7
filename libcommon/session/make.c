/* SPDX-License-Identifier: MIT */
/*
 * Making a session: its files, its descriptors, what it needs in the target; and taking up one whose processes have
 * died.
 */
#include "session/make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "index/index.h"
#include "pager/pager.h"
#include "pager/tiers.h"
#include "proc/sharers.h"
#include "proc/stat.h"
#include "service/fdstore.h"
#include "session/session.h"
#include "state/leftovers.h"
#include "state/paths.h"
#include "state/store_file.h"
#include "store/seal.h"
#include "worker/attach.h"

#define DEFAULT_CLUSTER_PAGES 16
#define BACKLOG               128

static int make_store(struct pager *pager, const struct session_options *options, struct error *error)
{
	int rc;

	pager->tiers.store_fd = store_file_new(options->store, pager->files.name, pager->files.store, error);
	if (pager->tiers.store_fd < 0)
		return pager->tiers.store_fd;
	rc = store_open(&pager->tiers.store, pager->tiers.store_fd, options->limit, options->codec);
	if (rc == 0)
		rc = pool_new(pager);
	if (rc == 0)
		rc = pool_open(pager, options->codec);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "make the store %s", pager->files.store) : 0;
}

static int make_key(struct pager *pager, const struct session_options *options, struct error *error)
{
	int rc;

	if (options->encrypt == ENCRYPT_NO || (options->encrypt == ENCRYPT_DEFAULT && !strchr(pager->files.store, '/')))
		return 0;
	pager->tiers.key_fd = seal_new();
	rc = pager->tiers.key_fd < 0 ? pager->tiers.key_fd : seal_open(&pager->tiers.seal, pager->tiers.key_fd);
	if (rc < 0)
		return error_set(error, rc, rc == -EAGAIN || rc == -ENOMEM ? "no memory can be locked" : NULL,
				 "raise the limit of locked memory (ulimit -l), or use --no-encrypt",
				 "make the key of session %s", pager->files.name);
	tiers_seal(pager);
	return 0;
}

static int make_index(struct pager *pager, const struct session_options *options, struct error *error)
{
	struct index_header *header;
	int rc;

	pager->index_fd = openat(pager->files.directory, "index", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = pager->index_fd < 0 ? -errno : index_create(&pager->index, pager->index_fd, pager->cluster_pages);
	if (rc < 0)
		return error_set(error, rc, NULL, rc == -ENOSPC ? "make room in the directory of sessions" : NULL,
				 "make the index of session %s", pager->files.name);
	header = index_header(pager->index);
	header->session.identity.pid = pager->target.pid;
	header->session.identity.starttime = pager->target.starttime;
	header->session.identity.pid_namespace = pid_namespace();
	boot_id(header->session.identity.boot);
	header->session.store.limit = options->limit;
	header->session.watched = options->watch;
	header->session.store.codec = options->codec;
	snprintf(header->session.store.path, sizeof(header->session.store.path), "%s", pager->files.store);
	return 0;
}

static int make_socket(struct pager *pager, struct error *error)
{
	const struct sockaddr_un address = paths_control(pager->files.directory);

	pager->serving.control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pager->serving.control < 0 ||
	    bind(pager->serving.control, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(pager->serving.control, BACKLOG) < 0)
		return error_set(error, -errno, NULL, NULL, "make the control socket of session %s", pager->files.name);
	return 0;
}

/* Whether a worker answers in the session of an open directory. */
static bool is_served(const struct pager *pager)
{
	static const char request[] = "{\"verb\":\"status\"}";
	const struct sockaddr_un address = paths_control(pager->files.directory);
	struct timeval patience = {.tv_sec = 1};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	       setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	       connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	       send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 && recv(fd, &byte, 1, 0) == 1;
}

/*
 * A process that has the directory open has it locked: all processes of the session, and nobody else. Those that were
 * killed have it until the last thread of them has ended. Returns 0 or -errno; -EEXIST: the session is served.
 */
static int lock_directory(const struct pager *pager)
{
	uint64_t deadline = now_us() + DYING_US;

	while (flock(pager->files.directory, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (now_us() > deadline || is_served(pager))
			return -EEXIST;
		usleep(DYING_POLL_US);
	}
	return 0;
}

static int open_directory(struct pager *pager, const char *to, struct error *error)
{
	pid_t pid = pager->target.pid;
	int rc;

	pager->files.directory =
		openat(pager->files.sessions, pager->files.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	rc = pager->files.directory < 0 ? -errno : lock_directory(pager);
	/* It may have ended while it was waited for, and have removed it. */
	if (rc == 0 && !paths_is(pager->files.sessions, pager->files.name, pager->files.directory))
		rc = -ENOENT;
	if (rc == -EEXIST)
		return error_set(error, rc, "it has a session already", "see swapctl status", "%s process %d", to, pid);
	if (rc == -ENOENT)
		return error_set(error, -ENOMSG, "it has no session", NULL, "%s process %d", to, pid);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "%s process %d", to, pid) : 0;
}

/* Returns 1 when it was not there before, 0 when it was, or -errno with `error` filled. */
static int make_or_open(struct pager *pager, struct error *error)
{
	for (;;) {
		bool made = mkdirat(pager->files.sessions, pager->files.name, 0700) == 0;
		int rc;

		if (!made && errno != EEXIST)
			return error_set(error, -errno, NULL, NULL, "attach to process %d", pager->target.pid);
		rc = open_directory(pager, "attach to", error);
		if (rc < 0 && made)
			unlinkat(pager->files.sessions, pager->files.name, AT_REMOVEDIR);
		if (rc != -ENOMSG || made)
			return rc < 0 ? rc : made;
		*error = (struct error){0};
		cleanup_close(&pager->files.directory);
	}
}

/*
 * The session's directory; what a session left there whose processes were killed is removed, unless the target still
 * needs it.
 */
static int make_directory(struct pager *pager, struct error *error)
{
	int rc = make_or_open(pager, error);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (leftovers_matter(pager->files.sessions, pager->files.name, &pager->target))
		return error_set(error, -EBUSY,
				 "both processes of its session were killed, and its pages are still out",
				 "its threads wait when they touch them: take it up with swapctl adopt",
				 "attach to process %d", pager->target.pid);
	paths_empty_session(pager->files.sessions, pager->files.name);
	return 0;
}

/*
 * One address space is one session's: each of two would write to its store what the other has in the program's memory,
 * and keep the other's puppet from answering. Our directory is there already, so that of two that begin at once not
 * both go on.
 */
static int check_sharers(const struct pager *pager, struct error *error)
{
	struct sharers sharers = {0};
	char name[SESSION_NAME], why[80];
	struct proc_stat stat;
	pid_t served = 0;
	int rc = sharers_inspect(&sharers, &pager->target);

	for (size_t i = 0; rc == 0 && !served && i < sharers.count; i++)
		if (proc_stat_read(sharers.pids[i], &stat) == 0 &&
		    faccessat(pager->files.sessions, paths_name(name, sharers.pids[i], stat.starttime), F_OK,
			      AT_SYMLINK_NOFOLLOW) == 0)
			served = sharers.pids[i];
	sharers_free(&sharers);
	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "find who shares the memory of process %d", pager->target.pid);
	if (!served)
		return 0;
	snprintf(why, sizeof(why), "its memory is that of process %d, which has a session", served);
	return error_set(error, -EBUSY, why, "name that one", "attach to process %d", pager->target.pid);
}

static int make_files(struct pager *pager, const struct session_options *options, struct error *error)
{
	int rc;

	pager->files.sessions = paths_sessions(error);
	if (pager->files.sessions < 0)
		return pager->files.sessions;
	leftovers_remove_sessions(pager->files.sessions);
	rc = make_directory(pager, error);
	if (rc < 0)
		return rc;
	rc = check_sharers(pager, error);
	if (rc == 0)
		rc = make_store(pager, options, error);
	if (rc == 0)
		rc = make_key(pager, options, error);
	if (rc == 0)
		rc = make_index(pager, options, error);
	if (rc == 0)
		rc = make_socket(pager, error);
	if (rc < 0)
		pager_remove_files(pager);
	return rc;
}

static unsigned int cluster_pages(const struct session_options *options)
{
	return options->cluster_bytes ? (unsigned int)(options->cluster_bytes / page_size()) : DEFAULT_CLUSTER_PAGES;
}

int session_make(struct pager *pager, const struct target *target, const struct session_options *options,
		 struct error *error)
{
	int rc;

	pager_init(pager, target, cluster_pages(options));
	rc = make_files(pager, options, error);
	if (rc < 0)
		return rc;
	rc = attach_target(pager, options->access, error);
	if (rc < 0)
		pager_remove_files(pager);
	return rc;
}

/* The store that the index names, or that the target holds for us. */
static int reopen_store(struct pager *pager, struct error *error)
{
	const struct index_header *header = index_header(pager->index);
	bool file = strchr(header->session.store.path, '/');
	int held;
	int rc;

	snprintf(pager->files.store, sizeof(pager->files.store), "%s", header->session.store.path);
	held = header->session.target.store_number > 0
		       ? pager->access.ops->fds.take(&pager->access, header->session.target.store_number)
		       : -EBADF;
	if (file) {
		pager->tiers.store_fd = open(pager->files.store, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		rc = pager->tiers.store_fd < 0 ? -errno : 0;
		if (rc == 0)
			flock(pager->tiers.store_fd, LOCK_EX | LOCK_NB); /* as store_file_new */
		/* A pool that the program has closed is lost, and what was in it; the rest is served. */
		pager->tiers.pool_fd = held < 0 ? -1 : held;
	} else {
		pager->tiers.store_fd = held;
		rc = held < 0 ? held : 0;
	}
	if (rc == 0)
		rc = pool_new(pager);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "open the store of session %s", pager->files.name) : 0;
}

static int reopen_key(struct pager *pager, struct error *error)
{
	int number = index_header(pager->index)->session.target.key_number;
	int rc;

	if (!number)
		return 0;
	pager->tiers.key_fd = pager->access.ops->fds.take(&pager->access, number);
	rc = pager->tiers.key_fd < 0 ? pager->tiers.key_fd : seal_open(&pager->tiers.seal, pager->tiers.key_fd);
	return rc < 0 ? error_set(error, rc, rc == -EBADF || rc == -EBADMSG ? "the process has closed it" : NULL, NULL,
				  "take the key of session %s", pager->files.name)
		      : 0;
}

static int reopen_index(struct pager *pager, struct error *error)
{
	const struct index_header *header;
	int rc;

	pager->index_fd = openat(pager->files.directory, "index", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	rc = pager->index_fd < 0 ? -errno : index_open(&pager->index, pager->index_fd);
	if (rc == 0) {
		header = index_header(pager->index);
		if (header->session.identity.pid != pager->target.pid ||
		    header->session.identity.starttime != pager->target.starttime ||
		    !memchr(header->session.store.path, '\0', sizeof(header->session.store.path)) ||
		    !header->cluster_pages || header->cluster_pages > CLUSTER_PAGES_MAX ||
		    region_bytes(header->session.staging.region) != STAGING_BYTES)
			rc = -EBADMSG;
	}
	return rc < 0 ? error_set(error, rc, rc == -EBADMSG ? "it is damaged, or of another version" : NULL, NULL,
				  "open the index of session %s", pager->files.name)
		      : 0;
}

/* Children whose descriptors the target holds for us. */
static void retake_children(struct pager *pager, struct fdstore *fdstore)
{
	const struct index_header *header = index_header(pager->index);
	struct access *access = &pager->access;

	for (unsigned int i = 1; i < header->spaces_there; i++) {
		struct fdstore_message message = {.number = header->spaces[i].stored_as};
		int fd = header->spaces[i].used && header->spaces[i].number > 0
				 ? access->ops->fds.take(access, header->spaces[i].number)
				 : -1;

		if (fd >= 0)
			fdstore_add(fdstore, &message, fd);
	}
}

int session_take_up(struct pager *pager, const struct target *target, struct fdstore *fdstore, struct error *error)
{
	const struct index_header *header;
	int rc;

	pager_init(pager, target, 0);
	pager->files.sessions = paths_sessions(error);
	if (pager->files.sessions >= 0)
		leftovers_remove_sessions(pager->files.sessions);
	rc = pager->files.sessions < 0 ? pager->files.sessions : open_directory(pager, "adopt the session of", error);
	if (rc == 0)
		rc = reopen_index(pager, error);
	if (rc < 0)
		return rc;
	header = index_header(pager->index);
	pager->cluster_pages = header->cluster_pages;
	pager->staging.region = header->session.staging.region;
	rc = attach_again(pager, error);
	if (rc < 0)
		return rc;
	rc = reopen_store(pager, error);
	if (rc == 0)
		rc = reopen_key(pager, error);
	if (rc < 0)
		return rc;
	retake_children(pager, fdstore);
	unlinkat(pager->files.directory, "control", 0);
	return make_socket(pager, error);
}
