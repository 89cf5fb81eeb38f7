/* SPDX-License-Identifier: MIT */
/* The process that serves: threads that fill, and this one that looks after them. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "confine/confine.h"
#include "inject/written.h"
#include "lazymap/live_event.h"
#include "lazymap/live_fill.h"
#include "lazymap/live_map.h"
#include "lazymap/live_request.h"
#include "lazymap/live_state.h"
#include "lazymap/live_worker.h"
#include "service/failpoint.h"
#include "service/service.h"

#define CHECK_MS       250 /* nobody tells when an address space is gone */
#define BUSY_AGAIN_MS  1
#define STRAY_AGAIN_MS 1
#define HELD_UP_NS     UINT64_C(200000000)

static void serve_stray(struct live *live, struct live_request *request)
{
	bool held_up = clock_now_ns() - request->since_ns > HELD_UP_NS;

	if (live_fill_stray(live, request->waiters[0], held_up) == -EAGAIN)
		live_request_again(live, request, STRAY_AGAIN_MS);
	else
		live_request_done(live, request, request->count);
}

/* Whether nothing has been placed yet for anyone in the same address space. */
static bool next_waiter(struct live *live, const struct live_request *request, size_t number, struct waiter *waiter)
{
	bool first = true;

	pthread_mutex_lock(&live->queue.lock);
	*waiter = request->waiters[number];
	for (size_t i = 0; i < number; i++)
		first &= request->waiters[i].space != waiter->space;
	pthread_mutex_unlock(&live->queue.lock);
	return first;
}

/* Others may come to wait for the block while it is placed. */
static void serve_request(struct live *live, struct live_request *request, struct live_block *block)
{
	size_t served = 0;
	struct waiter waiter;

	if (request->block == NO_BLOCK) {
		serve_stray(live, request);
		return;
	}
	block->number = request->block;
	if (live_fill_read(live, block) == -EAGAIN) {
		live_request_again(live, request, BUSY_AGAIN_MS);
		return;
	}
	do {
		bool first = next_waiter(live, request, served++, &waiter);

		if (first)
			live_fill_place(live, block, waiter);
		else
			live_fill_wake(live, waiter);
	} while (!live_request_done(live, request, served));
}

static void *thread_main(void *argument)
{
	struct live *live = argument;
	struct live_block block = {.data = malloc(live->options->block_bytes)};

	while (block.data)
		serve_request(live, live_event_next(live), &block);
	return NULL;
}

static int start_threads(struct live *live)
{
	pthread_t thread;
	int rc = 0;

	for (unsigned int i = 0; i < LIVE_THREADS && rc == 0; i++) {
		rc = -pthread_create(&thread, NULL, thread_main, live);
		if (rc == 0)
			pthread_detach(thread);
	}
	return rc;
}

/*
 * The watcher is gone: this process makes another one, which then starts another worker as if this one had been killed.
 * No thread reads messages any more by then. Returns in the new process.
 */
static void take_over(struct live *live)
{
	struct supervisor *watcher = &live->watcher;
	pid_t child;

	atomic_store(&live->quiet, true);
	eventfd_write(live->poke, 1);
	pthread_mutex_lock(&live->lead);
	watcher->worker = getpid();
	watcher->served = true;
	while ((watcher->pidfd = pidfd_of(watcher->worker)) < 0 || (child = fork()) < 0) {
		cleanup_close(&watcher->pidfd);
		poll(NULL, 0, CHECK_MS);
	}
	if (child > 0)
		_exit(EXIT_SUCCESS);
	close(live->watcher_pidfd);
	live->watcher_pidfd = pidfd_of(getpid());
}

static void finish_stage(struct live *live, enum live_stage stage)
{
	atomic_store(&live->shared->stage, stage);
	eventfd_write(live->watcher.channel, 1);
}

/* Signals meant for both of us come to the watcher; one that is sent to this process alone is told there. */
static void take_end_signals(const struct live *live)
{
	struct signalfd_siginfo info;

	while (read(live->watcher.signals, &info, sizeof(info)) == sizeof(info))
		if ((info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) && info.ssi_code <= 0) {
			atomic_store(&live->shared->ending, true);
			eventfd_write(live->watcher.channel, 1);
		}
}

/* The watcher may stay for its command: what a program that still moves the object about does must wait for nobody. */
static void let_go_of_all(struct live *live)
{
	for (uint32_t i = 0; i < LIVE_SPACES; i++)
		live_event_let_go(live, i);
}

/* Returns true when the watcher is gone. */
static bool wait_for_something(struct live *live)
{
	struct pollfd fds[] = {{.fd = live->wake_worker, .events = POLLIN},
			       {.fd = live->watcher_pidfd, .events = POLLIN},
			       {.fd = live->watcher.signals, .events = POLLIN},
			       {.fd = live->target_ended ? -1 : live->target->pidfd, .events = POLLIN}};

	if (poll(fds, ARRAY_SIZE(fds), CHECK_MS) <= 0)
		return false;
	if (fds[0].revents)
		eventfd_read(live->wake_worker, &(eventfd_t){0});
	if (fds[2].revents)
		take_end_signals(live);
	live->target_ended |= fds[3].revents != 0;
	return fds[1].revents;
}

/* For as long as the source takes: the supervisor does not take that for a sign of death. */
static void end_all(struct live *live)
{
	pulse_end(&live->shared->pulse.threads[0]);
	live_end_all(live);
	pulse_begin(&live->shared->pulse.threads[0]);
}

static void serve_live(struct live *live)
{
	struct live_shared *shared = live->shared;

	pulse_begin(&shared->pulse.threads[0]);
	for (;;) {
		pulse_next(&shared->pulse.threads[0]);
		live_puppet_inspect(live);
		if (atomic_load(&shared->stage) == STAGE_CLEAR || live_event_check(live) == 0) {
			let_go_of_all(live);
			finish_stage(live, STAGE_OVER);
			_exit(EXIT_SUCCESS);
		}
		if (atomic_load(&shared->ending) && atomic_load(&shared->stage) == STAGE_SERVING) {
			end_all(live);
			finish_stage(live, STAGE_LEFT);
		}
		failpoint("cache-house");
		if (wait_for_something(live))
			break;
	}
	take_over(live);
}

/*
 * What the worker is left with is what a watcher that comes after it needs: at the end it enters the target once more.
 * A command of the source is its user's, and is not to lack anything.
 */
static void confine_worker(const struct live *live)
{
	const struct confine_calls calls = {.serves = true, .opens_memory = true, .written = inject_written};
	bool suspends = confine_is_filtered(live->target);
	struct sock_fprog filter;

	if (source_runs_commands(live->source))
		return;
	confine_process();
	confine_capabilities(suspends ? CONFINE_ADMIN : 0);
	service_lock_memory();
	if (suspends || confine_filter_make(&filter, &calls) < 0)
		return;
	confine_filter_put_on(&filter);
	confine_filter_free(&filter);
}

void live_worker_run(struct supervisor *watcher, int channel)
{
	struct live *live = live_of(watcher);
	sigset_t blocked;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	service_begin(&blocked);
	prctl(PR_SET_NAME, "addrspace-cache");
	if (source_restart(live->source) < 0 || live_event_init(live) < 0)
		_exit(EXIT_FAILURE);
	live_event_recover(live);
	confine_worker(live);
	if (start_threads(live) < 0)
		_exit(EXIT_FAILURE);
	atomic_store(&live->shared->served, true);
	eventfd_write(channel, 1);
	serve_live(live);
}
