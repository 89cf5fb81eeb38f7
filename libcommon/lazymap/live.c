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
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "confine/confine.h"
#include "lazymap/live_map.h"
#include "lazymap/live_state.h"
#include "lazymap/live_worker.h"
#include "report/report.h"

#define HURRY_US 300000 /* a signal sooner than that is the same one, sent to a group */

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

static void take_signal(struct supervisor *watcher, const struct signalfd_siginfo *info)
{
	struct live *live = live_of(watcher);

	if (info->ssi_signo == SIGCHLD)
		live->callbacks->child(live->callbacks->context);
	else if (live->callbacks->signal(live->callbacks->context, info))
		ask_to_end(live);
}

static bool hear_worker(struct supervisor *watcher)
{
	struct live *live = live_of(watcher);

	eventfd_read(watcher->channel, &(eventfd_t){0});
	if (!watcher->served && atomic_load(&live->shared->served)) {
		watcher->served = true;
		live->callbacks->ready(live->callbacks->context, live);
	}
	emit_errors(live);
	if (atomic_load(&live->shared->stage) == STAGE_LEFT)
		leave_target(live);
	return true;
}

/* What is open before there is a worker stays open. Returns 0 or -errno. */
static int note_durable(struct live *live)
{
	_cleanup_closedir_ DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!directory)
		return -errno;
	while ((entry = readdir(directory))) {
		if (*entry->d_name == '.' || atoi(entry->d_name) == dirfd(directory))
			continue;
		if (array_reserve(&live->durable.numbers, live->durable.count, &live->durable.size) < 0)
			return -ENOMEM;
		live->durable.numbers[live->durable.count++] = atoi(entry->d_name);
	}
	return 0;
}

/* What a worker that was killed had open: watcher and worker share their descriptors. */
static void close_others(struct live *live)
{
	const struct uffd_msg *pending = &live->shared->pending.message;
	size_t count = live->durable.count;
	_cleanup_free_ int *fds = calloc(count + LIVE_SPACES + 2, sizeof(*fds));

	if (!fds)
		return; /* they are closed after the next one */
	memcpy(fds, live->durable.numbers, count * sizeof(*fds));
	for (unsigned int i = 0; i < LIVE_SPACES; i++)
		fds[count++] = live_table(live)->uffd[i];
	fds[count++] = live->watcher_pidfd;
	/* A child's, whose only copy it may be: an event that no worker has applied yet. */
	fds[count++] = pending->event == UFFD_EVENT_FORK ? (int)pending->arg.fork.ufd : -1;
	fd_close_others(fds, count);
}

static int worker_ended(struct supervisor *watcher)
{
	struct live *live = live_of(watcher);

	hear_worker(watcher);
	if (atomic_load(&live->shared->stage) == STAGE_OVER)
		return 0;
	close_others(live);
	atomic_fetch_add(&live->shared->counts.restarts, 1);
	return 1;
}

/*
 * Watcher and worker share their descriptors: a child's userfaultfd, which the kernel makes in the very call that reads
 * its fork, is safe in that moment from the death of the one that reads.
 */
static const struct supervisor_ops live_ops = {
	.shares_descriptors = true,
	.work = live_worker_run,
	.hear = hear_worker,
	.signal = take_signal,
	.ended = worker_ended,
};

/* What the caller waits for beside the service: a command of its own. */
static void wait_for_caller(struct live *live)
{
	const struct live_callbacks *callbacks = live->callbacks;
	struct pollfd fd = {.fd = live->watcher.signals, .events = POLLIN};
	struct signalfd_siginfo info;

	callbacks->child(callbacks->context);
	while (callbacks->waits(callbacks->context))
		if (poll(&fd, 1, -1) > 0 && read(fd.fd, &info, sizeof(info)) == sizeof(info))
			take_signal(&live->watcher, &info);
}

int live_serve(struct live *live, int signals, const struct live_callbacks *callbacks, struct error *error)
{
	int rc = note_durable(live);

	live->watcher.ops = &live_ops;
	live->watcher.pulse = &live->shared->pulse;
	live->watcher.signals = signals;
	live->callbacks = callbacks;
	if (rc == 0)
		rc = supervisor_run(&live->watcher);
	if (rc < 0)
		return error_set(error, rc, rc == -ECHILD ? "it ends before it serves" : NULL, NULL,
				 "start the process that serves");
	wait_for_caller(live);
	return 0;
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
	return live->watcher.worker;
}
