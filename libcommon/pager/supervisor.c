/* Making a session, and the small process that holds its descriptors while workers come and go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "pager/keep.h"
#include "pager/out.h"
#include "pager/paths.h"
#include "pager/session.h"

#define DEFAULT_CLUSTER_PAGES 16
#define RESTART_MS            10
#define RESTART_MAX_MS        5000
#define FEATURES                                                                                                     \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | \
	 UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON | UFFD_FEATURE_THREAD_ID)

/* Everything that makes a session, owned by the supervisor; the worker inherits it. */
struct session {
	struct pager pager;
	char name[SESSION_NAME];
	char store[256];
	int sessions; /* directory of all sessions */
	bool removed; /* nothing of it is left on the file system */
};

static int make_store(struct session *s, const struct session_options *options, struct error *error)
{
	struct pager *pager = &s->pager;
	int rc;

	pager->store_fd = paths_store(options->store, s->name, s->store, error);
	if (pager->store_fd < 0)
		return pager->store_fd;
	rc = store_open(&pager->store, pager->store_fd, options->limit, options->codec);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "make the store %s", s->store) : 0;
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
	    listen(s->pager.control, 16) < 0)
		return error_set(error, -errno, NULL, NULL, "make the control socket of session %s", s->name);
	return 0;
}

static int handshake(int fd, uint64_t features, struct error *error)
{
	int rc = uffd_handshake(fd, features);

	if (rc == -EPERM)
		return error_set(error, rc,
				 "fork events need CAP_SYS_PTRACE, and without them a child would read zeros",
				 "run as root or with CAP_SYS_PTRACE", "enable the userfaultfd");
	if (rc == -EOPNOTSUPP)
		return error_set(error, rc, "this kernel's userfaultfd lacks UFFDIO_MOVE",
				 "Linux 6.8 or newer is needed", "enable the userfaultfd");
	return rc < 0 ? error_set(error, rc, NULL, NULL, "enable the userfaultfd") : 0;
}

static void leave(struct pager *pager)
{
	struct road *road = &pager->road;
	struct error ignored = {0};

	if (road->ops && road->ops->leave(road, &ignored) < 0 && road->ops)
		road->ops->abandon(road);
}

/* Both descriptors and the staging area. */
static int open_target(struct pager *pager, struct error *error)
{
	struct index_header *header = index_header(pager->index);
	struct road *road = &pager->road;
	int uffd[2];
	int rc = target_by_inject.enter(road, &pager->target, STAGING_BYTES, uffd, error);

	if (rc < 0)
		return rc;
	rc = handshake(uffd[0], FEATURES, error);
	if (rc == 0)
		rc = handshake(uffd[1], UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MOVE, error);
	if (rc < 0) {
		leave(pager);
		return rc;
	}
	pager->spaces[0].uffd = uffd[0];
	pager->uffd_staging = uffd[1];
	pager->staging = header->staging = road->staging;
	header->control = road->control;
	header->uffd_number = road->number;
	pager->spaces[0].used = true;
	return 0;
}

/* What the session leaves on the file system. The pager is the session's first member. */
static void remove_files(struct pager *pager)
{
	struct session *s = (struct session *)pager;

	if (s->removed)
		return;
	s->removed = true;
	paths_remove_session(s->sessions, s->name);
	if (strchr(s->store, '/'))
		unlink(s->store); /* when the index was not made yet */
}

/* The session's directory; what a session left there whose processes were killed is removed, unless the target still needs it. */
static int make_directory(struct session *s, struct error *error)
{
	pid_t pid = s->pager.target.pid;

	if (mkdirat(s->sessions, s->name, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return error_set(error, -errno, NULL, NULL, "attach to process %d", pid);
	if (session_exists(&s->pager.target))
		return error_set(error, -EEXIST, "it has a session already", "see swapctl status",
				 "attach to process %d", pid);
	if (paths_orphan_matters(s->sessions, s->name, pid))
		return error_set(error, -EBUSY,
				 "both processes of its session were killed, and its pages are still out",
				 "its threads wait when they touch them; keep /run/uvmtools and the store",
				 "attach to process %d", pid);
	paths_remove_session(s->sessions, s->name);
	return mkdirat(s->sessions, s->name, 0700) == 0
		       ? 0
		       : error_set(error, -errno, NULL, NULL, "attach to process %d", pid);
}

static int make_files(struct session *s, const struct session_options *options, struct error *error)
{
	struct pager *pager = &s->pager;
	int rc;

	s->sessions = paths_sessions(error);
	if (s->sessions < 0)
		return s->sessions;
	rc = make_directory(s, error);
	if (rc < 0)
		return rc;
	pager->directory = openat(s->sessions, s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = pager->directory < 0 ? -errno : make_store(s, options, error);
	if (rc == 0)
		rc = make_index(s, options, error);
	if (rc == 0)
		rc = make_socket(s, error);
	if (rc < 0)
		remove_files(&s->pager);
	return rc;
}

static int set_up(struct session *s, const struct target *target, const struct session_options *options,
		  struct error *error)
{
	struct pager *pager = &s->pager;
	int rc;

	*s = (struct session){.sessions = -1};
	pager->road = ROAD_NONE;
	pager->target = *target;
	pager->directory = pager->store_fd = pager->index_fd = pager->uffd_staging = pager->maps_fd =
		pager->pagemap_fd = -1;
	pager->cluster_pages =
		options->cluster_bytes ? (unsigned int)(options->cluster_bytes / page_size()) : DEFAULT_CLUSTER_PAGES;
	paths_name(s->name, target->pid, target->starttime);
	umask(077);
	rc = make_files(s, options, error);
	if (rc < 0)
		return rc;
	rc = open_target(pager, error);
	if (rc < 0)
		remove_files(&s->pager);
	return rc;
}

static void keep_add(struct kept *kept, const struct keep_message *message, int fd)
{
	if (kept->count == kept->size) {
		size_t size = kept->size ? kept->size * 2 : 16;
		void *grown = realloc(kept->items, size * sizeof(*kept->items));

		if (!grown) {
			close(fd);
			return;
		}
		kept->items = grown;
		kept->size = size;
	}
	kept->items[kept->count++] = (struct kept_item){message->number, message->parent, fd};
}

static void keep_drop(struct kept *kept, uint64_t number)
{
	for (size_t i = 0; i < kept->count;) {
		if (number && kept->items[i].number != number) {
			i++;
			continue;
		}
		close(kept->items[i].fd);
		kept->items[i] = kept->items[--kept->count];
	}
}

static void handle_message(struct session *s, struct kept *kept, int socket)
{
	struct keep_message message;
	int fd;
	int rc = keep_receive(socket, &message, &fd);

	if (rc > 0 && message.op == KEEP_DESCRIPTOR && fd >= 0) {
		keep_add(kept, &message, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (rc <= 0 || message.op != KEEP_DROP)
		return;
	keep_drop(kept, message.number);
	if (message.number)
		return;
	close(s->pager.spaces[0].uffd);
	close(s->pager.uffd_staging);
	remove_files(&s->pager);
	message.op = KEEP_DROPPED;
	keep_send(socket, &message, -1);
}

static pid_t worker_pid;

static void pass_on(int signal)
{
	if (worker_pid > 0)
		kill(worker_pid, signal);
}

static void pass_signals(void)
{
	struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Holds on until the worker ends. Returns its wait status. */
static int watch_worker(struct session *s, struct kept *kept, int socket, pid_t worker)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, worker, 0);
	int status = 0;

	for (;;) {
		struct pollfd fds[] = {{.fd = socket, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

		poll(fds, ARRAY_SIZE(fds), -1);
		if (fds[0].revents & POLLIN)
			handle_message(s, kept, socket);
		else if (fds[1].revents && waitpid(worker, &status, 0) == worker)
			return status;
	}
}

/* Starts a worker; with `inherited` one that takes over from another. Returns its pid or -errno; *socket is our end. */
static pid_t start_worker(struct session *s, int ready, const struct kept *inherited, int *socket)
{
	int pair[2];
	pid_t worker;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	worker = fork();
	if (worker == 0) {
		close(pair[0]);
		s->pager.supervisor = pair[1];
		s->pager.ready = ready;
		s->pager.inherited = inherited;
		_exit(worker_main(&s->pager));
	}
	if (worker < 0)
		close(pair[0]);
	else
		*socket = pair[0];
	close(pair[1]);
	return worker < 0 ? -errno : worker;
}

/* Whether something of the session is still to be served. */
static bool needed(const struct session *s, const struct kept *kept)
{
	return kept->count || (!s->removed && uffd_alive(s->pager.spaces[0].uffd));
}

/* A worker that ended by itself, or crashed, would do so again: the next one is given a little more time each time. */
static void back_off(int status, unsigned int *failures)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		*failures = 0;
	else
		poll(NULL, 0, (int)min_u64(RESTART_MS << (*failures)++, RESTART_MAX_MS));
	*failures = *failures > 16 ? 16 : *failures;
}

/*
 * Workers, one after the other, until one says that the session is over. Meanwhile the descriptors are held: threads that touch what is out wait; were they
 * closed, the threads would read zeros.
 */
static int supervise(struct session *s, int ready)
{
	struct kept kept = {0};
	unsigned int failures = 0;
	int status;

	prctl(PR_SET_NAME, "swapctl-super");
	pass_signals();
	s->pager.remove_files = remove_files;
	for (bool first = true;; first = false) {
		int socket = -1;

		worker_pid = start_worker(s, first ? ready : -1, first ? NULL : &kept, &socket);
		if (first && ready >= 0)
			close(ready);
		status = worker_pid < 0 ? -1 : watch_worker(s, &kept, socket, worker_pid);
		if (socket >= 0)
			close(socket);
		if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || !needed(s, &kept))
			break;
		back_off(status, &failures);
	}
	remove_files(&s->pager);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* A line of JSON for whoever waits at the other end of the pipe. */
static void tell_error(int ready, int rc, const struct error *error)
{
	json_t *line = json_pack("{s:s,s:i,s:s,s:s,s:s}", "type", "failed", "code", rc, "tried", error->tried, "why",
				 error->why, "hint", error->hint);
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	if (text)
		dprintf(ready, "%s\n", text);
	free(text);
	json_decref(line);
}

/* Nothing of the caller's may be held open by a session that outlives it: a pipe would never end. */
static void let_go_of_caller(int ready, int pidfd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int keep_low = ready < pidfd ? ready : pidfd;
	int keep_high = ready < pidfd ? pidfd : ready;

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (keep_low > 3)
		close_range(3, (unsigned int)keep_low - 1, 0);
	if (keep_high > keep_low + 1)
		close_range((unsigned int)keep_low + 1, (unsigned int)keep_high - 1, 0);
	close_range((unsigned int)keep_high + 1, ~0U, 0);
	if (chdir("/") < 0)
		_exit(EXIT_FAILURE);
	setsid();
}

static int run_session(const struct target *target, const struct session_options *options, int ready)
{
	struct session *s = calloc(1, sizeof(*s));
	struct error error = {0};
	int rc;

	if (!s)
		return -ENOMEM;
	rc = set_up(s, target, options, &error);
	if (rc < 0)
		tell_error(ready, rc, &error);
	else
		rc = supervise(s, ready);
	free(s);
	return rc;
}

static int read_ready(int fd, session_record_fn callback, void *context, struct error *error)
{
	_cleanup_fclose_ FILE *stream = fdopen(fd, "r");
	json_t *line = stream ? json_loadf(stream, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	const char *type = json_string_value(json_object_get(line, "type"));
	int rc = 0;

	if (!type) {
		rc = error_set(error, -EIO, "the session ended while it was made", NULL, "attach");
	} else if (strcmp(type, "failed") == 0) {
		rc = (int)json_integer_value(json_object_get(line, "code"));
		error_set(error, rc, json_string_value(json_object_get(line, "why")),
			  json_string_value(json_object_get(line, "hint")), "%s",
			  json_string_value(json_object_get(line, "tried")));
	} else {
		callback(context, json_incref(line));
	}
	json_decref(line);
	return rc;
}

static int check_options(const struct session_options *options, struct error *error)
{
	uint64_t bytes = options->cluster_bytes;

	if (bytes && (!is_power_of_two(bytes) || bytes < page_size() || bytes > CLUSTER_PAGES_MAX * page_size()))
		return error_set(error, -EINVAL, "a cluster is a power of two, from one page to 64 pages", NULL,
				 "set the cluster size");
	return 0;
}

/* A process of ours serves faults; its own must not wait for another one. */
static int check_not_ours(const struct target *target, struct error *error)
{
	_cleanup_close_ int exe = target_proc_open(target, "exe", O_RDONLY | O_CLOEXEC);
	struct stat theirs;
	struct stat ours;

	if (exe < 0 || fstat(exe, &theirs) < 0 || stat("/proc/self/exe", &ours) < 0 || theirs.st_dev != ours.st_dev ||
	    theirs.st_ino != ours.st_ino)
		return 0;
	return error_set(error, -EINVAL, "it is a process of uvmtools itself", "name the process that it serves",
			 "attach to process %d", target->pid);
}

int session_attach(const struct target *target, const struct session_options *options, session_record_fn callback,
		   void *context, struct error *error)
{
	int pipe_fds[2];
	int rc = check_options(options, error);
	pid_t child;

	if (rc == 0)
		rc = target_check(target, error);
	if (rc == 0)
		rc = check_not_ours(target, error);
	if (rc < 0)
		return rc;
	if (session_exists(target))
		return error_set(error, -EEXIST, "it has a session already", "see swapctl status",
				 "attach to process %d", target->pid);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set(error, -errno, NULL, NULL, "attach to process %d", target->pid);
	child = fork();
	if (child < 0)
		return error_set(error, -errno, NULL, NULL, "attach to process %d", target->pid);
	if (child == 0) {
		if (!options->foreground)
			let_go_of_caller(pipe_fds[1], target->pidfd);
		else
			close(pipe_fds[0]);
		_exit(run_session(target, options, pipe_fds[1]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(pipe_fds[1]);
	rc = read_ready(pipe_fds[0], callback, context, error);
	if (rc == 0 && options->foreground) {
		int status;

		worker_pid = child;
		pass_signals();
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	}
	return rc;
}
