/* SPDX-License-Identifier: MIT */
/* The process that watches: it starts the one that serves, again and again if need be, and emits what happens. */
#include "lazymap/live.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/fd.h"
#include "base/size.h"
#include "confine/confine.h"
#include "lazymap/live_event.h"
#include "lazymap/live_fill.h"
#include "lazymap/live_map.h"
#include "lazymap/live_request.h"
#include "lazymap/live_state.h"
#include "lazymap/live_worker.h"
#include "report/report.h"

#define RESTART_MS     10
#define RESTART_MAX_MS 2000
#define SERVED_MS      10     /* between checks whether it does */
#define HURRY_US 300000 /* a signal sooner than that is the same one, sent to a group */

static bool is_kept(const struct live *live, int fd)
{
	const struct live_shared *shared = live->shared;
	bool kept = fd == live->watcher_pidfd;

	for (int i = 0; i < shared->fd_count; i++)
		kept |= shared->fds[i] == fd;
	for (unsigned int i = 0; i < LIVE_SPACES; i++)
		kept |= live_table(live)->uffd[i] == fd;
	/* A child's, whose only copy it may be: an event that no worker has applied yet. */
	return kept ||
	       (shared->pending.message.event == UFFD_EVENT_FORK && (int)shared->pending.message.arg.fork.ufd == fd);
}

/* All that is open, one way or the other. */
static void each_descriptor(struct live *live, void (*visit)(struct live *live, int fd))
{
	_cleanup_closedir_ DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		if (*entry->d_name != '.' && atoi(entry->d_name) != dirfd(directory))
			visit(live, atoi(entry->d_name));
}

/* What is open before there is a worker stays open. */
static void remember_fd(struct live *live, int fd)
{
	if (live->shared->fd_count < LIVE_FDS)
		live->shared->fds[live->shared->fd_count++] = fd;
}

/* What a worker that was killed had open: watcher and worker share their descriptors. */
static void close_other(struct live *live, int fd)
{
	if (!is_kept(live, fd))
		close(fd);
}

/*
 * The two share their descriptors, not copies of them: a child's userfaultfd, which the kernel makes in the very call
 * that reads its fork, is safe in that moment from the death of the one that reads.
 */
static int start_worker(struct live *live)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		live_worker_run(live);
		return 0; /* the new watcher */
	}
	atomic_store(&live->shared->worker, pid);
	live->worker_pidfd = pidfd_of(pid);
	return live->worker_pidfd < 0 ? live->worker_pidfd : 0;
}

static json_t *error_of(const struct live_error *failed)
{
	struct error error = {0};
	json_t *record;

	error_set(&error, failed->code,
		  failed->code == -ENODATA   ? "the data ends before it"
		  : failed->code == -EBADMSG ? "it cannot be decompressed"
		  : failed->code == -EIO     ? "it could not be read"
					     : NULL,
		  "its readers get SIGBUS", "fill");
	record = error_record("fill", &error);
	json_object_set_new(record, "offset", report_address(failed->offset));
	report_number(record, "bytes", failed->bytes);
	return record;
}

static void emit_errors(struct live *live)
{
	struct live_shared *shared = live->shared;
	uint64_t errors = atomic_load(&shared->errors);

	if (errors - live->errors_emitted > LIVE_ERRORS)
		live->errors_emitted = errors - LIVE_ERRORS;
	while (live->errors_emitted < errors)
		live->callbacks->error(live->callbacks->context,
				       error_of(&shared->list[live->errors_emitted++ % LIVE_ERRORS]));
}

static void leave_target(struct live *live)
{
	struct error error = {0};

	if (live_leave(live, live->options->end == LIVE_END_UNMAP, &error) < 0)
		live->callbacks->error(live->callbacks->context, error_record("leave", &error));
	atomic_store(&live->shared->stage, STAGE_CLEAR);
	eventfd_write(live->wake_worker, 1);
}

static void ask_to_end(struct live *live)
{
	struct live_shared *shared = live->shared;

	if (!shared->asked_us)
		shared->asked_us = now_us();
	else if (now_us() - shared->asked_us > HURRY_US)
		atomic_store(&shared->hurry, true);
	atomic_store(&shared->ending, true);
	eventfd_write(live->wake_worker, 1);
}

static void take_signals(struct live *live)
{
	struct signalfd_siginfo info;

	while (read(live->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGCHLD)
			live->callbacks->child(live->callbacks->context);
		else if (live->callbacks->signal(live->callbacks->context, &info))
			ask_to_end(live);
}

/* Until the worker has ended. Its status is not asked for: it may be no child of this process. */
static void watch_worker(struct live *live)
{
	struct pollfd fds[] = {{.fd = live->worker_pidfd, .events = POLLIN},
			       {.fd = live->signals, .events = POLLIN},
			       {.fd = live->wake_watcher, .events = POLLIN},
			       {.fd = live->target->pidfd, .events = POLLIN}};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[1].revents)
			take_signals(live);
		if (fds[2].revents)
			eventfd_read(live->wake_watcher, &(eventfd_t){0});
		if (fds[3].revents) {
			eventfd_write(live->wake_worker, 1); /* to check at once */
			fds[3].fd = -1;
		}
		emit_errors(live);
		if (fds[0].revents)
			return;
		if (atomic_load(&live->shared->stage) == STAGE_LEFT)
			leave_target(live);
	}
}

/* Returns whether it was killed. */
static bool reap_worker(struct live *live)
{
	siginfo_t info = {.si_code = CLD_KILLED, .si_status = SIGKILL};

	waitid(P_PIDFD, (id_t)live->worker_pidfd, &info, WEXITED);
	cleanup_close(&live->worker_pidfd);
	emit_errors(live);
	return info.si_code == CLD_KILLED && info.si_status == SIGKILL;
}

/* What the caller waits for beside the service: a command of its own. */
static void wait_for_caller(struct live *live)
{
	const struct live_callbacks *callbacks = live->callbacks;
	struct pollfd fd = {.fd = live->signals, .events = POLLIN};

	callbacks->child(callbacks->context);
	while (callbacks->waits(callbacks->context))
		if (poll(&fd, 1, -1) > 0)
			take_signals(live);
}

/* This process is the watcher now; the one before is gone. */
static void become_watcher(struct live *live)
{
	live->took_over = false;
	close(live->watcher_pidfd);
	live->watcher_pidfd = pidfd_of(getpid());
}

/* Until the worker serves, or has ended. */
static void wait_until_served(const struct live *live)
{
	struct pollfd fds[] = {{.fd = live->worker_pidfd, .events = POLLIN},
			       {.fd = live->wake_watcher, .events = POLLIN}};

	while (!atomic_load(&live->shared->served) && !fds[0].revents)
		poll(fds, ARRAY_SIZE(fds), SERVED_MS);
}

static int run_workers(struct live *live)
{
	unsigned int failures = 0;

	for (;;) {
		int rc = start_worker(live);

		if (rc < 0)
			return rc;
		if (live->took_over) {
			become_watcher(live);
		} else if (!atomic_load(&live->shared->counts.restarts) && live->callbacks->ready) {
			wait_until_served(live);
			live->callbacks->ready(live->callbacks->context, live);
		}
		watch_worker(live);
		if (!reap_worker(live))
			poll(NULL, 0, (int)min_u64(RESTART_MS << failures++, RESTART_MAX_MS));
		failures = failures > 8 ? 8 : failures;
		if (atomic_load(&live->shared->stage) == STAGE_OVER)
			break;
		each_descriptor(live, close_other);
		atomic_fetch_add(&live->shared->counts.restarts, 1);
	}
	wait_for_caller(live);
	return 0;
}

int live_serve(struct live *live, int signals, const struct live_callbacks *callbacks, struct error *error)
{
	int rc;

	live->signals = signals;
	live->callbacks = callbacks;
	each_descriptor(live, remember_fd);
	rc = run_workers(live);
	return rc < 0 ? error_set(error, rc, NULL, NULL, "start the process that serves") : 0;
}

json_t *live_summary(const struct live *live)
{
	struct live_shared *shared = live->shared;
	const struct live_counts *counts = &shared->counts;
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{"faults", counts->faults}, {"joined_faults", counts->joined}, {"blocks", counts->blocks},
		{"bytes", counts->bytes},   {"errors", shared->errors},        {"poisoned_pages", counts->poisoned},
		{"forks", counts->forks},   {"remaps", counts->remaps},        {"removes", counts->removes},
		{"unmaps", counts->unmaps}, {"restarts", counts->restarts},
	};
	const struct latency fills = {shared->fills, &shared->fill_max_ns};
	json_t *record = report_process("summary", live->target->pid, live->target->starttime);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		report_number(record, rows[i].key, rows[i].value);
	json_object_set_new(record, "fill_p50_us", report_microseconds(latency_percentile(&fills, 50)));
	json_object_set_new(record, "fill_p99_us", report_microseconds(latency_percentile(&fills, 99)));
	json_object_set_new(record, "fill_max_us", report_microseconds(shared->fill_max_ns));
	return record;
}

uint64_t live_errors(const struct live *live)
{
	return atomic_load(&live->shared->errors);
}

json_t *live_missing(const struct live *live)
{
	const char *given_up = source_runs_commands(live->source) ? "its source runs commands of the user" : NULL;
	pid_t worker = live_worker(live);

	return confine_missing(live->target, &worker, 1, given_up);
}

pid_t live_worker(const struct live *live)
{
	return atomic_load(&live->shared->worker);
}
