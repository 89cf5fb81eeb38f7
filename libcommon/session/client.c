/* SPDX-License-Identifier: MIT */
/* The tools' side of the control socket. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "report/input.h"
#include "report/parse.h"
#include "report/report.h"
#include "session/session.h"
#include "state/leftovers.h"
#include "state/paths.h"

#define PATIENCE_US  1000000 /* with all of many sessions */
#define AGAIN_MS     20      /* until one whose queue is full is asked again */
#define CONNECT_S    60      /* with the one that was named */
#define SILENCE_MS   10000   /* for which it may say nothing, before it has to show that it answers at all */
#define HANGS        "one that hangs is replaced, try again in a minute; let one that is stopped go on (kill -CONT)"
#define RESPONSE_MS  30000 /* to that; its supervisor replaces one that is hung sooner */
#define ANSWER_BYTES 4096

/*
 * Connects to the session in a directory below `sessions`. Returns a socket or -errno; -EAGAIN when nobody accepts in
 * time, which is at once with patience 0.
 */
static int connect_to(int sessions, const char *name, int patience_s)
{
	struct timeval patience = {.tv_sec = patience_s};
	_cleanup_close_ int directory = openat(sessions, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (patience_s ? 0 : SOCK_NONBLOCK), 0);
	const struct sockaddr_un address = paths_control(directory);

	if (directory < 0 || fd < 0)
		return -errno;
	/* Waiting for a full backlog is limited by this, too (net/unix/af_unix.c, unix_stream_connect). */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
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

bool session_is_known(const struct target *target)
{
	struct error ignored = {0};
	_cleanup_close_ int sessions = paths_sessions(&ignored);
	char name[SESSION_NAME];

	return sessions >= 0 &&
	       faccessat(sessions, paths_name(name, target->pid, target->starttime), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
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

static int send_request(int fd, const struct session_request *request)
{
	json_t *object = request_encode(request);
	_cleanup_free_ char *text = object ? report_text(object, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0;

	json_decref(object);
	for (size_t at = 0; at < length;) {
		ssize_t n = send(fd, text + at, length - at, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return text ? 0 : -ENOMEM;
}

/* Records of a session as they come in, a line each. */
struct answer {
	int fd;
	char *bytes;
	size_t size, count, at;
	bool ran_out; /* there was no memory for what has come */
};

static void answer_free(struct answer *answer)
{
	cleanup_close(&answer->fd);
	free(answer->bytes);
}

/* Reads what is there. Returns how much, 0 at the end, or -errno. */
static ssize_t answer_read(struct answer *answer)
{
	ssize_t n;

	if (answer->at)
		memmove(answer->bytes, answer->bytes + answer->at, answer->count - answer->at);
	answer->count -= answer->at;
	answer->at = 0;
	if (answer->count == answer->size) {
		size_t size = answer->size ? answer->size * 2 : ANSWER_BYTES;
		char *grown = realloc(answer->bytes, size);

		if (!grown)
			return -ENOMEM;
		answer->bytes = grown;
		answer->size = size;
	}
	n = recv(answer->fd, answer->bytes + answer->count, answer->size - answer->count, MSG_DONTWAIT);
	if (n > 0)
		answer->count += (size_t)n;
	return n < 0 ? -errno : n;
}

/* The next record that has come in as a whole, or NULL. */
static json_t *answer_next(struct answer *answer)
{
	char *line = answer->bytes + answer->at;
	const char *end = answer->count > answer->at ? memchr(line, '\n', answer->count - answer->at) : NULL;
	json_error_t failed;
	json_t *record;

	if (!end)
		return NULL;
	answer->at += (size_t)(end - line) + 1;
	record = parse_text(line, (size_t)(end - line), 0, &failed);
	answer->ran_out |= !record && parse_ran_out(&failed);
	return record;
}

/* Calls back for what has come in. Returns true with the answer's outcome in *rc at its end. */
static bool take_records(struct answer *answer, session_record_fn callback, void *context, int *rc, struct error *error)
{
	json_t *record;

	while ((record = answer_next(answer))) {
		if (input_is(record, "end")) {
			*rc = end_of(record, error);
			json_decref(record);
			return true;
		}
		callback(context, record);
	}
	if (answer->ran_out)
		*rc = error_set(error, -ENOMEM, NULL, NULL, "read the answer of the session");
	return answer->ran_out;
}

void session_ignore(void *context, json_t *record)
{
	(void)context;
	json_decref(record);
}

/* Waits until there is more to read. Returns 0, or -ETIMEDOUT when nothing has come for so long. */
static int await_readable(int fd, int timeout_ms)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	int rc = poll(&readable, 1, timeout_ms);

	return rc == 0 ? -ETIMEDOUT : 0;
}

/* Whether a session that has nothing to say for long still answers others; one that is gone says so itself. */
static bool is_responsive(const struct target *target)
{
	struct answer answer = {.fd = connect_target(target)};
	const struct session_request request = {.verb = REQUEST_STATUS};
	struct error ignored = {0};
	bool over = answer.fd < 0 && answer.fd != -EAGAIN;
	int rc = over || answer.fd < 0 ? 0 : send_request(answer.fd, &request);

	while (rc == 0 && answer.fd >= 0 && !over) {
		rc = await_readable(answer.fd, RESPONSE_MS);
		over = rc == 0 &&
		       (answer_read(&answer) == 0 || take_records(&answer, session_ignore, NULL, &rc, &ignored));
	}
	answer_free(&answer);
	return over;
}

static int set_silent_error(const struct target *target, struct error *error)
{
	return error_set(error, -ETIMEDOUT, "its worker does not answer", HANGS, "talk to the session of process %d",
			 target->pid);
}

/* Waits for more of an answer, as long as its session lives. Returns 0 or -errno with `error` filled. */
static int answer_more(const struct target *target, struct answer *answer, struct error *error)
{
	ssize_t n;

	if (await_readable(answer->fd, SILENCE_MS) < 0)
		return is_responsive(target) ? 0 : set_silent_error(target, error);
	n = answer_read(answer);
	/* The memory of a process is gone a moment before the process is. */
	if ((n == 0 || n == -ECONNRESET) && target_ends(target, END_MS))
		return error_set(error, -ESRCH, "it has ended", NULL, "talk to the session of process %d", target->pid);
	if (n == 0 || n == -ECONNRESET)
		return error_set(error, -ECONNRESET, "it ended before it had answered",
				 "see whether the target still runs", "talk to the session");
	if (n < 0 && n != -EAGAIN && n != -EINTR)
		return error_set(error, (int)n, NULL, NULL, "talk to the session");
	return 0;
}

static int receive_records(const struct target *target, struct answer *answer, session_record_fn callback,
			   void *context, struct error *error)
{
	int rc = 0;

	while (rc == 0) {
		if (take_records(answer, callback, context, &rc, error))
			return rc;
		rc = answer_more(target, answer, error);
	}
	return rc;
}

int session_exchange(const struct target *target, int fd, const struct session_request *request,
		     session_record_fn callback, void *context, struct error *error)
{
	struct answer answer = {.fd = fd};
	int rc = send_request(fd, request);

	/* A session that ends what was begun may have said so before it closed its end. */
	if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
		error_set(error, rc, NULL, "see whether the target still runs", "talk to the session");
	else
		rc = receive_records(target, &answer, callback, context, error);
	answer_free(&answer);
	return rc;
}

int session_connect(const struct target *target, struct error *error)
{
	int fd = connect_target(target);

	if (fd == -ENOENT)
		return error_set(error, -ENOMSG, "it has no session", "make one with swapctl attach or swapctl out",
				 "find the session of process %d", target->pid);
	if (fd == -ECONNREFUSED)
		return error_set(error, -ENOENT, "all its processes were killed", "take it up with swapctl adopt",
				 "talk to the session of process %d", target->pid);
	if (fd == -EAGAIN)
		return error_set(error, -ETIMEDOUT, "its worker accepts no connection", HANGS,
				 "talk to the session of process %d", target->pid);
	if (fd < 0)
		return error_set(error, fd, NULL, fd == -EACCES ? "run as the user who made it, or as root" : NULL,
				 "find the session of process %d", target->pid);
	return fd;
}

int session_ask(const struct target *target, const struct session_request *request, session_record_fn callback,
		void *context, struct error *error)
{
	int rc = session_connect(target, error);

	return rc < 0 ? rc : session_exchange(target, rc, request, callback, context, error);
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

/* Nobody listens there; NULL: it has ended meanwhile. */
static json_t *orphan_record(int sessions, const char *name)
{
	if (faccessat(sessions, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	return bare_record(name, leftovers_is_gone(sessions, name) ? "gone" : "orphaned");
}

/* Returns 1 when it is held, 0 when more is to come, or how the request has failed. */
static int take_hold(struct answer *answer, struct error *error)
{
	json_t *record;
	int rc = 0;

	while (rc == 0 && (record = answer_next(answer))) {
		if (input_is(record, "held"))
			rc = 1;
		else if (input_is(record, "end"))
			rc = end_of(record, error) < 0 ? error->code : -ECONNRESET;
		json_decref(record);
	}
	return rc;
}

int session_hold(const struct target *target, struct error *error)
{
	struct answer answer = {.fd = session_connect(target, error)};
	const struct session_request request = {.verb = REQUEST_HOLD};
	int rc = answer.fd < 0 ? answer.fd : send_request(answer.fd, &request);
	int taken = 0;

	while (rc == 0 && !(taken = take_hold(&answer, error)))
		rc = answer_more(target, &answer, error);
	if (rc == 0)
		rc = taken > 0 ? steal_fd(&answer.fd) : taken;
	answer_free(&answer);
	return rc;
}

void session_release(int fd)
{
	char rest[512];
	ssize_t n;

	shutdown(fd, SHUT_WR);
	while (await_readable(fd, SILENCE_MS) == 0 && (n = recv(fd, rest, sizeof(rest), MSG_DONTWAIT)) != 0)
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			break;
	close(fd);
}

void session_cancel(int fd)
{
	const char enough = REQUEST_ENOUGH;

	send(fd, &enough, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One of many that are asked at the same time. */
struct asked {
	char name[SESSION_NAME];
	struct answer answer;
	bool sent, over;
	json_t *record; /* what it has said */
};

static void keep_record(void *context, json_t *record)
{
	struct asked *asked = context;

	json_decref(asked->record);
	asked->record = record;
}

/* Asks one that was not asked yet. One with a full queue is asked again a little later. */
static void ask_session(int sessions, struct asked *asked, const struct session_request *request)
{
	int fd = connect_to(sessions, asked->name, 0);

	if (fd == -EAGAIN)
		return;
	asked->answer.fd = fd;
	asked->sent = fd >= 0 && send_request(fd, request) == 0;
	asked->over = !asked->sent;
}

static void hear_session(struct asked *asked)
{
	struct error ignored = {0};
	ssize_t n = answer_read(&asked->answer);
	int rc;

	asked->over = take_records(&asked->answer, keep_record, asked, &rc, &ignored) || n == 0 ||
		      (n < 0 && n != -EAGAIN && n != -EINTR);
}

/* Asks all, and waits for their answers until a second after that. */
static void ask_all(int sessions, struct asked *all, size_t count)
{
	const struct session_request request = {.verb = REQUEST_STATUS};
	struct pollfd *fds = calloc(count + 1, sizeof(*fds));
	uint64_t deadline = now_us() + PATIENCE_US;
	size_t left = fds ? count : 0;

	while (left && now_us() < deadline) {
		left = 0;
		for (size_t i = 0; i < count; i++) {
			if (!all[i].sent && !all[i].over)
				ask_session(sessions, &all[i], &request);
			fds[i] = (struct pollfd){.fd = all[i].sent && !all[i].over ? all[i].answer.fd : -1,
						 .events = POLLIN};
			left += !all[i].over;
		}
		if (left)
			poll(fds, count, AGAIN_MS);
		for (size_t i = 0; i < count; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				hear_session(&all[i]);
	}
	free(fds);
}

static int find_all(DIR *dir, struct asked **all, size_t *count)
{
	size_t size = 0;

	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= SESSION_NAME)
			continue;
		if (array_reserve(all, *count, &size) < 0)
			return -ENOMEM;
		(*all)[*count] = (struct asked){.answer.fd = -EAGAIN};
		memcpy((*all)[(*count)++].name, entry->d_name, strlen(entry->d_name) + 1);
	}
	return 0;
}

/* Whether it could be asked at all: what is in the way may be in ours, a limit of descriptors for instance. */
static bool is_out_of_reach(const struct asked *asked)
{
	int rc = asked->answer.fd;

	return rc < 0 && rc != -EAGAIN && rc != -ENOENT && rc != -ECONNREFUSED && rc != -ENOTDIR;
}

static json_t *record_of(int sessions, struct asked *asked)
{
	if (asked->record)
		return steal_ptr(&asked->record);
	/* Nobody listens there; otherwise nobody has answered. */
	return asked->answer.fd == -ENOENT || asked->answer.fd == -ECONNREFUSED
		       ? orphan_record(sessions, asked->name)
		       : bare_record(asked->name, "unresponsive");
}

int session_list(session_record_fn callback, void *context, struct error *error)
{
	int sessions = paths_sessions(error);
	_cleanup_closedir_ DIR *dir = fd_directory(sessions);
	struct asked *all = NULL;
	size_t count = 0;
	bool asked;
	int rc;

	if (sessions == -ENOENT)
		return 0; /* a user without such a directory has no session */
	if (!dir)
		return sessions < 0 ? sessions : error_set(error, -errno, NULL, NULL, "list the sessions");
	rc = find_all(dir, &all, &count);
	asked = rc == 0;
	if (asked)
		ask_all(sessions, all, count);
	for (size_t i = 0; i < count; i++) {
		bool known = asked && !is_out_of_reach(&all[i]);
		json_t *record = known ? record_of(sessions, &all[i]) : NULL;

		if (asked && !known && rc == 0)
			rc = error_set(error, all[i].answer.fd, NULL, NULL, "look at session %s", all[i].name);
		if (record)
			callback(context, record);
		json_decref(all[i].record);
		answer_free(&all[i].answer);
	}
	free(all);
	return asked ? rc : error_set(error, rc, NULL, NULL, "list the sessions");
}
