/* SPDX-License-Identifier: MIT */
/*
 * Making a session: its files, its descriptors, what it needs in the target; and taking up one whose processes have
 * died.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pager/held.h"
#include "pager/keep.h"
#include "pager/leftovers.h"
#include "pager/out.h"
#include "pager/paths.h"
#include "pager/session.h"
#include "pager/supervisor.h"
#include "store/seal.h"

#define DEFAULT_CLUSTER_PAGES 16
#define BACKLOG               128

static int make_store(struct session *s, const struct session_options *options, struct error *error)
{
	struct pager *pager = &s->pager;
	int rc;

	pager->store_fd = paths_store(options->store, s->name, s->store, error);
	if (pager->store_fd < 0)
		return pager->store_fd;
	rc = store_open(&pager->store, pager->store_fd, options->limit, options->codec);
	if (rc == 0)
		rc = pool_new(pager);
	if (rc == 0)
		rc = pool_open(pager, options->codec);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "make the store %s", s->store) : 0;
}

static int make_key(struct session *s, const struct session_options *options, struct error *error)
{
	struct pager *pager = &s->pager;
	int rc;

	if (options->encrypt == ENCRYPT_NO || (options->encrypt == ENCRYPT_DEFAULT && !strchr(s->store, '/')))
		return 0;
	pager->key_fd = seal_new();
	rc = pager->key_fd < 0 ? pager->key_fd : seal_open(&pager->seal, pager->key_fd);
	if (rc < 0)
		return error_set(error, rc, rc == -EAGAIN || rc == -ENOMEM ? "no memory can be locked" : NULL,
				 "raise the limit of locked memory (ulimit -l), or use --no-encrypt",
				 "make the key of session %s", s->name);
	tiers_seal(pager);
	return 0;
}

static int make_index(struct session *s, const struct session_options *options, struct error *error)
{
	struct pager *pager = &s->pager;
	struct index_header *header;
	int rc;

	s->pager.index_fd = openat(pager->directory, "index", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = s->pager.index_fd < 0 ? -errno : index_create(&pager->index, s->pager.index_fd, pager->cluster_pages);
	if (rc < 0)
		return error_set(error, rc, NULL, rc == -ENOSPC ? "make room in the directory of sessions" : NULL,
				 "make the index of session %s", s->name);
	header = index_header(pager->index);
	header->pid = pager->target.pid;
	header->starttime = pager->target.starttime;
	header->pid_namespace = pid_namespace();
	boot_id(header->boot);
	header->limit = options->limit;
	header->watched = options->watch;
	header->codec = options->codec;
	snprintf(header->store, sizeof(header->store), "%s", s->store);
	return 0;
}

static int make_socket(struct session *s, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[64];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", paths_control(path, s->pager.directory));
	s->pager.control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->pager.control < 0 || bind(s->pager.control, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(s->pager.control, BACKLOG) < 0)
		return error_set(error, -errno, NULL, NULL, "make the control socket of session %s", s->name);
	return 0;
}

void session_remove_files(struct pager *pager)
{
	struct session *s = (struct session *)pager;

	if (s->removed)
		return;
	s->removed = true;
	seal_wipe(pager->seal);
	if (pager->directory >= 0 && !paths_is(s->sessions, s->name, pager->directory))
		return; /* another session stands in its place */
	paths_remove_session(s->sessions, s->name);
	if (strchr(s->store, '/'))
		unlink(s->store); /* when the index was not made yet */
}

/* Whether somebody answers in the session of an open directory. */
static bool is_served(const struct pager *pager)
{
	static const char request[] = "{\"verb\":\"status\"}";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 1};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[64];
	char byte;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", paths_control(path, pager->directory));
	return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	       setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	       connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	       send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 && recv(fd, &byte, 1, 0) == 1;
}

/*
 * Whoever has the directory open has it locked: all processes of the session, and nobody else. Those that were killed
 * have it until the last thread of them has ended. Returns 0 or -errno; -EEXIST: somebody serves the session.
 */
static int lock_directory(const struct pager *pager)
{
	uint64_t deadline = now_us() + DYING_US;

	while (flock(pager->directory, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (now_us() > deadline || is_served(pager))
			return -EEXIST;
		usleep(DYING_LOOK_US);
	}
	return 0;
}

static int open_directory(struct session *s, const char *to, struct error *error)
{
	struct pager *pager = &s->pager;
	pid_t pid = pager->target.pid;
	int rc;

	pager->directory = openat(s->sessions, s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	rc = pager->directory < 0 ? -errno : lock_directory(pager);
	/* It may have ended while it was waited for, and have removed it. */
	if (rc == 0 && !paths_is(s->sessions, s->name, pager->directory))
		rc = -ENOENT;
	if (rc == -EEXIST)
		return error_set(error, rc, "it has a session already", "see swapctl status", "%s process %d", to, pid);
	return rc < 0 ? error_set(error, rc, rc == -ENOENT ? "it has no session" : NULL, NULL, "%s process %d", to, pid)
		      : 0;
}

/* Returns 1 when it was not there before, 0 when it was, or -errno with `error` filled. */
static int make_or_open(struct session *s, struct error *error)
{
	for (;;) {
		bool made = mkdirat(s->sessions, s->name, 0700) == 0;
		int rc;

		if (!made && errno != EEXIST)
			return error_set(error, -errno, NULL, NULL, "attach to process %d", s->pager.target.pid);
		rc = open_directory(s, "attach to", error);
		if (rc < 0 && made)
			unlinkat(s->sessions, s->name, AT_REMOVEDIR);
		if (rc != -ENOENT || made)
			return rc < 0 ? rc : made;
		*error = (struct error){0};
		cleanup_close(&s->pager.directory);
	}
}

/*
 * The session's directory; what a session left there whose processes were killed is removed, unless the target still
 * needs it.
 */
static int make_directory(struct session *s, struct error *error)
{
	int rc = make_or_open(s, error);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (leftovers_matter(s->sessions, s->name, &s->pager.target))
		return error_set(error, -EBUSY,
				 "both processes of its session were killed, and its pages are still out",
				 "its threads wait when they touch them: take it up with swapctl adopt",
				 "attach to process %d", s->pager.target.pid);
	paths_empty_session(s->sessions, s->name);
	return 0;
}

static int make_files(struct session *s, const struct session_options *options, struct error *error)
{
	int rc;

	s->sessions = paths_sessions(error);
	if (s->sessions < 0)
		return s->sessions;
	leftovers_remove_sessions(s->sessions);
	rc = make_directory(s, error);
	if (rc < 0)
		return rc;
	rc = make_store(s, options, error);
	if (rc == 0)
		rc = make_key(s, options, error);
	if (rc == 0)
		rc = make_index(s, options, error);
	if (rc == 0)
		rc = make_socket(s, error);
	if (rc < 0)
		session_remove_files(&s->pager);
	return rc;
}

void session_init(struct session *s, const struct target *target, unsigned int cluster_pages)
{
	struct pager *pager = &s->pager;

	s->sessions = -1;
	pager->road = ROAD_NONE;
	pager->target = *target;
	pager->cluster_pages = cluster_pages;
	pager->directory = pager->store_fd = pager->pool_fd = pager->key_fd = pager->index_fd = pager->uffd_staging =
		pager->maps_fd = pager->pagemap_fd = pager->control = pager->spaces[0].uffd = pager->ready =
			pager->supervisor = -1;
	paths_name(s->name, target->pid, target->starttime);
}

static unsigned int cluster_pages(const struct session_options *options)
{
	return options->cluster_bytes ? (unsigned int)(options->cluster_bytes / page_size()) : DEFAULT_CLUSTER_PAGES;
}

int session_make(struct session *s, const struct target *target, const struct session_options *options,
		 struct error *error)
{
	struct pager *pager = &s->pager;
	int rc;

	session_init(s, target, cluster_pages(options));
	rc = make_files(s, options, error);
	if (rc < 0)
		return rc;
	rc = enter_target(pager, options->road, error);
	if (rc < 0)
		session_remove_files(&s->pager);
	return rc;
}

/* The store that the index names, or that the target holds for us. */
static int reopen_store(struct session *s, struct error *error)
{
	struct pager *pager = &s->pager;
	const struct index_header *header = index_header(pager->index);
	bool file = strchr(header->store, '/');
	int held;
	int rc;

	snprintf(s->store, sizeof(s->store), "%s", header->store);
	held = header->store_number > 0 ? pager->road.ops->take(&pager->road, header->store_number) : -EBADF;
	if (file) {
		pager->store_fd = open(s->store, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		rc = pager->store_fd < 0 ? -errno : 0;
		if (rc == 0)
			flock(pager->store_fd, LOCK_EX | LOCK_NB); /* as paths_store */
		/* A pool that the program has closed is lost, and what was in it; the rest is served. */
		pager->pool_fd = held < 0 ? -1 : held;
	} else {
		pager->store_fd = held;
		rc = held < 0 ? held : 0;
	}
	if (rc == 0)
		rc = pool_new(pager);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "open the store of session %s", s->name) : 0;
}

static int reopen_key(struct session *s, struct error *error)
{
	struct pager *pager = &s->pager;
	int number = index_header(pager->index)->key_number;
	int rc;

	if (!number)
		return 0;
	pager->key_fd = pager->road.ops->take(&pager->road, number);
	rc = pager->key_fd < 0 ? pager->key_fd : seal_open(&pager->seal, pager->key_fd);
	return rc < 0 ? error_set(error, rc, rc == -EBADF || rc == -EBADMSG ? "the process has closed it" : NULL, NULL,
				  "take the key of session %s", s->name)
		      : 0;
}

static int reopen_index(struct session *s, struct error *error)
{
	struct pager *pager = &s->pager;
	const struct index_header *header;
	int rc;

	pager->index_fd = openat(pager->directory, "index", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	rc = pager->index_fd < 0 ? -errno : index_open(&pager->index, pager->index_fd);
	if (rc == 0) {
		header = index_header(pager->index);
		if (header->pid != pager->target.pid || header->starttime != pager->target.starttime ||
		    !memchr(header->store, '\0', sizeof(header->store)) || !header->cluster_pages ||
		    header->cluster_pages > CLUSTER_PAGES_MAX || region_bytes(header->staging) != STAGING_BYTES)
			rc = -EBADMSG;
	}
	return rc < 0 ? error_set(error, rc, rc == -EBADMSG ? "it is damaged, or of another version" : NULL, NULL,
				  "open the index of session %s", s->name)
		      : 0;
}

/* Children whose descriptors the target holds for us. */
static void retake_children(struct session *s, struct kept *kept)
{
	const struct index_header *header = index_header(s->pager.index);
	struct road *road = &s->pager.road;

	kept->items = calloc(INDEX_SPACES, sizeof(*kept->items));
	for (unsigned int i = 1; kept->items && i < header->spaces_there; i++) {
		int fd = header->spaces[i].used && header->spaces[i].number > 0
				 ? road->ops->take(road, header->spaces[i].number)
				 : -1;

		if (fd >= 0)
			kept->items[kept->count++] =
				(struct kept_item){.number = header->spaces[i].kept, .parent = 0, .fd = fd};
	}
	kept->size = kept->items ? INDEX_SPACES : 0;
}

int session_take_up(struct session *s, const struct target *target, struct kept *kept, struct error *error)
{
	struct pager *pager = &s->pager;
	const struct index_header *header;
	int rc;

	session_init(s, target, 0);
	s->sessions = paths_sessions(error);
	if (s->sessions >= 0)
		leftovers_remove_sessions(s->sessions);
	rc = s->sessions < 0 ? s->sessions : open_directory(s, "adopt the session of", error);
	if (rc == 0)
		rc = reopen_index(s, error);
	if (rc < 0)
		return rc;
	header = index_header(pager->index);
	pager->cluster_pages = header->cluster_pages;
	pager->staging = header->staging;
	rc = enter_again(pager, error);
	if (rc < 0)
		return rc;
	rc = reopen_store(s, error);
	if (rc == 0)
		rc = reopen_key(s, error);
	if (rc < 0)
		return rc;
	retake_children(s, kept);
	unlinkat(pager->directory, "control", 0);
	return make_socket(s, error);
}
