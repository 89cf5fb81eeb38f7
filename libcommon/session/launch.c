/* SPDX-License-Identifier: MIT */
/* Starting a session's processes, and waiting until they serve. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "confine/confine.h"
#include "index/index.h"
#include "inject/written.h"
#include "pager/pager.h"
#include "proc/tracer.h"
#include "report/input.h"
#include "report/parse.h"
#include "report/report.h"
#include "service/fdstore.h"
#include "service/service.h"
#include "session/make.h"
#include "session/session.h"
#include "worker/supervisor.h"
#include "worker/worker.h"

/* The staging area's copy, compression, fault service, and some for the index; measured, and doubled. */
#define MEMORY_BYTES (64 * MiB)

/* A line of JSON for the process that waits at the other end of the pipe. */
static void emit_error(int ready, int rc, const struct error *error)
{
	report_line(ready, json_pack("{s:s,s:i,s:s,s:s,s:s}", "type", "failed", "code", rc, "tried", error->tried,
				     "why", error->why, "hint", error->hint));
}

/* Nothing of the caller's may be held open by a session that outlives it: a pipe would never end. */
static void let_go_of_caller(int ready, int pidfd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int kept[] = {0, 1, 2, ready, pidfd};

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	fd_close_others(kept, ARRAY_SIZE(kept));
	if (chdir("/") < 0)
		_exit(EXIT_FAILURE);
}

/*
 * What the target was entered with is not needed any more. A filter on its threads is suspended for each stop, which
 * only a process without one may do: the next worker and the next supervisor come from this one.
 */
static void confine_launcher(struct pager *pager)
{
	const struct access *access = &pager->access;
	const struct confine_calls calls = {.serves = true, .written = inject_written};
	bool traces = access->ops != &target_by_agent;
	bool suspends = traces && confine_is_filtered(&pager->target);
	struct sock_fprog filter;

	/* Here, and not by each worker: what making it takes is given back before memory is locked. */
	confine_filter_make(&pager->supervision.keeper.filter, &(struct confine_calls){.serves = false});
	confine_capabilities(suspends || !traces ? CONFINE_ADMIN : 0);
	if (suspends || confine_filter_make(&filter, &calls) < 0)
		return;
	confine_filter_put_on(&filter);
	confine_filter_free(&filter);
}

static int start_serving(struct pager *pager, int ready, struct fdstore *adopted)
{
	struct error error = {0};
	int rc;

	confine_launcher(pager);
	rc = supervise(pager, worker_main, ready, adopted);

	if (rc < 0 && target_ends(&pager->target, 0)) {
		rc = error_set(&error, -ESRCH, "it has ended", NULL, "start the session of process %d",
			       pager->target.pid);
		emit_error(ready, rc, &error);
	} else if (rc < 0) {
		error_set(&error, rc, rc == -ECHILD ? "its worker ends before it serves" : NULL,
			  "see whether there is memory for it, and processes and descriptors are left",
			  "start the session of process %d", pager->target.pid);
		emit_error(ready, rc, &error);
	}
	return rc;
}

/*
 * Memory that cannot be had in time would stop the target for good: at the limit of a cgroup, where nothing else is
 * left to be ended, the kernel lets a process that asks for more wait.
 */
static int check_memory(const struct target *target, const char *to, struct error *error)
{
	uint64_t left = UINT64_MAX;
	char text[SIZE_TEXT];
	char why[128];

	if (cgroup_leave_limits(&left) < 0 || left >= MEMORY_BYTES)
		return 0;
	size_format(text, left);
	snprintf(why, sizeof(why), "its cgroup leaves it %s of memory, and a session needs %llu MiB", text,
		 (unsigned long long)(MEMORY_BYTES / MiB));
	return error_set(error, -ENOMEM, why, "start it from a cgroup with a higher limit", "%s process %d", to,
			 target->pid);
}

static int check_descriptors(const struct target *target, const char *to, struct error *error)
{
	struct rlimit limit;
	char why[128];

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS_MIN)
		return 0;
	snprintf(why, sizeof(why), "it may have %llu descriptors, and a session needs %d",
		 (unsigned long long)limit.rlim_cur, DESCRIPTORS_MIN);
	return error_set(error, -EMFILE, why, "raise the limit (ulimit -H -n)", "%s process %d", to, target->pid);
}

/* Without options it takes up a session that is there. */
static int run_session(const struct target *target, const struct session_options *options, int ready)
{
	const char *to = options ? "attach to" : "adopt the session of";
	struct pager *pager = calloc(1, sizeof(*pager));
	struct error error = {0};
	struct fdstore fdstore = {0};
	int rc;

	if (!pager)
		return -ENOMEM;
	rc = check_descriptors(target, to, &error);
	if (rc == 0)
		rc = check_memory(target, to, &error);
	if (rc == 0)
		rc = options ? session_make(pager, target, options, &error)
			     : session_take_up(pager, target, &fdstore, &error);
	if (rc < 0)
		emit_error(ready, rc, &error);
	else
		rc = start_serving(pager, ready, options ? NULL : &fdstore);
	free(pager);
	return rc;
}

static int read_ready(int fd, const struct target *target, session_record_fn callback, void *context,
		      struct error *error)
{
	_cleanup_fclose_ FILE *stream = fd_stream(fd);
	json_error_t failed = {0}; /* as it stays where there is no memory to begin with */
	json_t *line = stream ? parse_stream(stream, JSON_DISABLE_EOF_CHECK, &failed) : NULL;
	bool told = *input_text(line, "type");
	int rc = 0;

	if (!stream || (!line && parse_ran_out(&failed))) {
		rc = error_set(error, -ENOMEM, NULL, "see swapctl status: it may be there", "hear of the session");
	} else if (!told && target_ends(target, END_MS)) {
		rc = error_set(error, -ESRCH, "it has ended", NULL, "start the session of process %d", target->pid);
	} else if (!told) {
		rc = error_set(error, -EIO, "the session ended while it was made", NULL,
			       "start the session of process %d", target->pid);
	} else if (input_is(line, "failed")) {
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

/* A process of the session serves faults; its own must not wait for another one. */
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

/* Answers are heard by nobody: what matters is that everything is back when the request has ended. */
static void ask_to_detach(const struct target *target)
{
	struct error ignored = {0};

	session_ask(target, &(struct session_request){.verb = REQUEST_DETACH}, session_ignore, NULL, &ignored);
}

/*
 * In front of the session until its last process has ended. A supervisor whose own one was killed comes to us as our
 * child: what watches this process, as an init system does, sees the session live as long as it does.
 */
static void stay_in_front(const struct target *target, int signals)
{
	struct signalfd_siginfo info;

	for (;;) {
		struct pollfd fd = {.fd = signals, .events = POLLIN};
		pid_t ended = waitpid(-1, NULL, WNOHANG);

		if (ended < 0 && errno == ECHILD)
			return;
		if (ended == 0 && poll(&fd, 1, -1) > 0 && read(signals, &info, sizeof(info)) > 0 &&
		    info.ssi_signo != SIGCHLD)
			ask_to_detach(target);
	}
}

static void signals_of_end(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static int catch_signals(void)
{
	sigset_t set;

	signals_of_end(&set);
	sigaddset(&set, SIGQUIT); /* of a terminal, too; nobody else of the session hears of it */
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Without options it takes up a session that is there. */
static int launch_session(const struct target *target, const struct session_options *options, bool foreground,
			  session_record_fn callback, void *context, struct error *error)
{
	int signals = foreground ? catch_signals() : -1;
	sigset_t ends; /* of a session; blocked from the beginning, for the supervisor waits for them */
	int pipe_fds[2];
	pid_t child;
	int rc;

	signals_of_end(&ends);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set(error, -errno, NULL, NULL, "attach to process %d", target->pid);
	child = fork();
	if (child < 0)
		return error_set(error, -errno, NULL, NULL, "attach to process %d", target->pid);
	if (child == 0) {
		service_begin(&ends);
		confine_process();
		let_go_of_caller(pipe_fds[1], target->pidfd);
		_exit(run_session(target, options, pipe_fds[1]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(pipe_fds[1]);
	rc = read_ready(pipe_fds[0], target, callback, context, error);
	if (rc == 0 && foreground)
		stay_in_front(target, signals);
	return rc;
}

int session_attach(const struct target *target, const struct session_options *options, session_record_fn callback,
		   void *context, struct error *error)
{
	int rc = check_options(options, error);

	if (rc == 0)
		rc = target_check(target, error);
	if (rc == 0)
		rc = check_not_ours(target, error);
	return rc < 0 ? rc : launch_session(target, options, options->foreground, callback, context, error);
}

/* A process of a session that was killed traces until its last thread has ended. */
static int check_adoption(const struct target *target, struct error *error)
{
	uint64_t deadline = now_us() + DYING_US;
	int rc;

	do
		rc = target_check(target, error);
	while (rc == -EBUSY && tracer_is_ours(tracer_of(target, target_thread(target))) && now_us() < deadline);
	if (rc == 0)
		*error = (struct error){0};
	return rc;
}

int session_adopt(const struct target *target, bool foreground, session_record_fn callback, void *context,
		  struct error *error)
{
	int rc = check_adoption(target, error);

	return rc < 0 ? rc : launch_session(target, NULL, foreground, callback, context, error);
}
