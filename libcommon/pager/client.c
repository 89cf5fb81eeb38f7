/* The tools' side of the control socket. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "pager/paths.h"
#include "pager/session.h"

#define PATIENCE_S 2  /* with a session among many */
#define CONNECT_S  60 /* with the one that was named; its answer is waited for as long as it takes */

/*
 * Connects to the session in a directory below `sessions`. Returns a socket or -errno; -EAGAIN when nobody accepts in
 * time.
 */
static int connect_to(int sessions, const char *name, int patience_s)
{
	struct timeval patience = {.tv_sec = patience_s};
	_cleanup_close_ int directory = openat(sessions, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[64];

	if (directory < 0 || fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", paths_control(path, directory));
	/* Waiting for a full backlog is limited by this, too (net/unix/af_unix.c, unix_stream_connect). */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int connect_target(const struct target *target)
{
	struct error ignored = {0};
	_cleanup_close_ int sessions = paths_sessions(&ignored);
	char name[SESSION_NAME];

	return sessions < 0 ? sessions
			    : connect_to(sessions, paths_name(name, target->pid, target->starttime), CONNECT_S);
}

bool session_exists(const struct target *target)
{
	_cleanup_close_ int fd = connect_target(target);

	return fd >= 0;
}

static int end_of(const json_t *end, struct error *error)
{
	int rc = (int)json_integer_value(json_object_get(end, "code"));
	const json_t *why = json_object_get(end, "error");

	if (rc < 0)
		return error_set(error, rc, json_string_value(json_object_get(why, "why")),
				 json_string_value(json_object_get(why, "hint")), "%s",
				 json_string_value(json_object_get(why, "tried")));
	return json_is_true(json_object_get(end, "partial")) ? 1 : 0;
}

static int send_request(int fd, const json_t *request)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0;

	for (size_t at = 0; at < length;) {
		ssize_t n = send(fd, text + at, length - at, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return text ? 0 : -ENOMEM;
}

int session_exchange(int fd, const json_t *request, session_record_fn callback, void *context, struct error *error)
{
	_cleanup_fclose_ FILE *stream = fdopen(fd, "r");
	int rc;

	if (!stream) {
		close(fd);
		return error_set(error, -ENOMEM, NULL, NULL, "talk to the session");
	}
	rc = send_request(fd, request);
	for (json_t *record; rc == 0 && (record = json_loadf(stream, JSON_DISABLE_EOF_CHECK, NULL));) {
		const char *type = json_string_value(json_object_get(record, "type"));

		if (type && strcmp(type, "end") == 0) {
			rc = end_of(record, error);
			json_decref(record);
			return rc;
		}
		callback(context, record);
	}
	return error_set(error, rc < 0 ? rc : -ECONNRESET, rc < 0 ? NULL : "it ended before it had answered",
			 "see whether the target still runs", "talk to the session");
}

int session_connect(const struct target *target, struct error *error)
{
	int fd = connect_target(target);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return error_set(error, -ENOENT, "it has no session", "make one with swapctl attach or swapctl out",
				 "find the session of process %d", target->pid);
	if (fd == -EAGAIN)
		return error_set(error, -ETIMEDOUT, "its worker accepts no connection", "is it stopped (SIGSTOP)?",
				 "talk to the session of process %d", target->pid);
	if (fd < 0)
		return error_set(error, fd, NULL, fd == -EACCES ? "run as the user who made it, or as root" : NULL,
				 "find the session of process %d", target->pid);
	return fd;
}

int session_request(const struct target *target, json_t *request, session_record_fn callback, void *context,
		    struct error *error)
{
	int rc = request ? session_connect(target, error) : error_set(error, -ENOMEM, NULL, NULL, "ask the session");

	if (rc >= 0)
		rc = session_exchange(rc, request, callback, context, error);
	json_decref(request);
	return rc;
}

/* The record of a session that answers in time. Returns false when it does not. */
static bool ask_status(int fd, session_record_fn callback, void *context)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	struct error ignored = {0};
	json_t *request = json_pack("{s:s}", "verb", "status");
	int rc;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	rc = session_exchange(fd, request, callback, context, &ignored);
	json_decref(request);
	return rc == 0;
}

/* What is known of a session from its name alone. */
static json_t *bare_record(const char *name, const char *state)
{
	uint64_t starttime = 0;
	int pid = 0;

	if (sscanf(name, "%d.%" SCNu64, &pid, &starttime) != 2)
		return NULL;
	return json_pack("{s:s,s:i,s:I,s:s}", "type", "session", "pid", pid, "starttime", (json_int_t)starttime,
			 "state", state);
}

/* A session whose processes are gone: NULL, and removed, when its target is gone as well. */
static json_t *orphan(int sessions, const char *name)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	struct error ignored = {0};
	uint64_t starttime = 0;
	int pid = 0;

	if (sscanf(name, "%d.%" SCNu64, &pid, &starttime) != 2)
		return NULL;
	if (target_open(&target, pid, -1, &ignored) < 0 || target.starttime != starttime) {
		paths_remove_session(sessions, name);
		return NULL;
	}
	return bare_record(name, "orphaned");
}

int session_list(session_record_fn callback, void *context, struct error *error)
{
	int sessions = paths_sessions(error);
	_cleanup_closedir_ DIR *dir = sessions < 0 ? NULL : fdopendir(sessions);

	if (!dir)
		return sessions < 0 ? sessions : -ENOMEM;
	for (struct dirent *entry; (entry = readdir(dir));) {
		json_t *record;
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		fd = connect_to(dirfd(dir), entry->d_name, PATIENCE_S);
		if (fd >= 0 && ask_status(fd, callback, context))
			continue;
		record = fd >= 0 || fd == -EAGAIN ? bare_record(entry->d_name, "unresponsive")
						  : orphan(dirfd(dir), entry->d_name);
		if (record)
			callback(context, record);
	}
	return 0;
}
