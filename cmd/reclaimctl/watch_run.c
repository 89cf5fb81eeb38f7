/* SPDX-License-Identifier: MIT */
/* reclaimctl watch: looks after rings until it is told to end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "cli/interrupt.h"
#include "tool/notify.h"
#include "watch.h"

#define MILLISECOND UINT64_C(1000000)
#define EVENTS      32
#define PRIORITY    (-20)

/* A pidfd that was inherited stays open elsewhere: closing our copy would leave it in the set. */
static void forget_process(struct watcher *w, struct watched *m)
{
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, m->target.pidfd, NULL);
	ring_release(&m->ring);
	target_close(&m->target);
	free(m);
}

static void drop_gone(struct watcher *w)
{
	struct watched **at = &w->all;

	while (*at) {
		struct watched *m = *at;

		if (!m->gone) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		watch_emit_event(w, &m->target, target_alive(&m->target) ? "lost" : "ended");
		forget_process(w, m);
	}
}

static int add_named(struct watcher *w, const struct process_choice *choice, struct error *error)
{
	_cleanup_target_ struct target target = TARGET_NONE;
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	int rc = choice_open(choice, &target, error);

	if (rc < 0)
		return rc;
	for (const struct watched *m = w->all; m; m = m->next)
		if (m->target.pid == target.pid)
			return 0;
	rc = ring_find(&target, !w->options->dry_run, &ring, error);
	if (rc == 0 && watch_add(w, &target, &ring, true) < 0)
		rc = error_set(error, -ENOMEM, NULL, NULL, "watch process %d", target.pid);
	return rc;
}

static int add_all_named(struct watcher *w, struct error *error)
{
	_cleanup_choices_ struct choices choices = {0};
	/* Of what is not named some may come later, but what is no cgroup is an error now. */
	int rc = choice_find(&choices, &w->run->options.processes, &(struct region_input){0}, error);

	for (size_t i = 0; rc == 0 && cli_names_process(&w->run->options) && i < choices.count; i++)
		rc = add_named(w, &choices.items[i], error);
	return rc;
}

/* Without being asked for, pressure is something that some kernels tell of. */
static int set_triggers(struct watcher *w, struct error *error)
{
	for (enum ring_level level = RING_WARNING; level <= RING_CRITICAL; level++) {
		const struct watch_trigger *trigger = &w->options->triggers[level];

		if (!*trigger->text)
			continue;
		w->triggers[level] = pressure_open(-1, trigger->text, error);
		if (w->triggers[level] < 0 && trigger->given)
			return w->triggers[level];
		watch_poll(w, w->triggers[level], EPOLLPRI, level);
	}
	return 0;
}

static int begin_watch(struct watcher *w, struct error *error)
{
	const sigset_t signals = interrupt_signals();
	int rc;

	sigprocmask(SIG_BLOCK, &signals, NULL);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->epoll < 0 || w->signals < 0)
		return error_set(error, -errno, NULL, NULL, "begin");
	watch_poll(w, w->signals, EPOLLIN, EVENT_SIGNAL);
	/* A limit is hit within milliseconds: who works for it goes first. It sleeps but for moments. */
	setpriority(PRIO_PROCESS, 0, PRIORITY);
	rc = set_triggers(w, error);
	return rc < 0 ? rc : add_all_named(w, error);
}

/* A notice comes once a window while the pressure lasts, so a level holds for two. */
static uint64_t hold_ns(const struct watch_trigger *trigger)
{
	const char *window = strrchr(trigger->text, ' ');

	return window ? strtoull(window, NULL, 10) * 1000 * 2 : 0;
}

/* Whether all have to be looked at. */
static bool take_event(struct watcher *w, const struct epoll_event *event, uint64_t now_ns)
{
	const uint32_t what = (uint32_t)event->data.u64;

	if (what == EVENT_SIGNAL)
		w->ending = true;
	if (what == EVENT_CGROUP)
		return !watch_noticed(w, (uint32_t)(event->data.u64 >> 32));
	if (what > RING_CRITICAL)
		return true;
	ring_pressure_note(&w->pressure, what, now_ns, hold_ns(&w->options->triggers[what]));
	w->pressed = true;
	return true;
}

/* Until it is time for a look at all of them, or something asks for one. */
static void wait_for_work(struct watcher *w, uint64_t next_ns)
{
	bool due = false;

	while (!due && !w->ending) {
		struct epoll_event events[EVENTS];
		uint64_t now = clock_now_ns();
		int ms = (int)(next_ns > now ? (next_ns - now) / MILLISECOND + 1 : 0);
		int count = epoll_wait(w->epoll, events, EVENTS, ms);

		now = clock_now_ns();
		due = count <= 0 || now >= next_ns;
		for (int i = 0; i < count; i++)
			due = take_event(w, &events[i], now) || due;
	}
	w->level = ring_pressure_level(&w->pressure, clock_now_ns());
}

static void loop_until_end(struct watcher *w)
{
	while (!w->ending) {
		uint64_t next = clock_now_ns() + w->options->interval_ns;

		w->soon_ns = UINT64_MAX;
		watch_find(w, clock_now_ns());
		for (struct watched *m = w->all; m && !w->ending; m = m->next)
			watch_tend(w, m, clock_now_ns());
		w->pressed = false;
		drop_gone(w);
		watch_leave_unused(w);
		if (w->ending || (cli_names_process(&w->run->options) && !w->all))
			return;
		if (w->soon_ns < w->options->interval_ns)
			next = clock_now_ns() + w->soon_ns;
		wait_for_work(w, next);
	}
}

static void end_watch(struct watcher *w)
{
	while (w->all) {
		struct watched *m = w->all;

		w->all = m->next;
		watch_leave(w, m);
		forget_process(w, m);
	}
	watch_leave_unused(w);
	free(w->known.items);
	for (size_t i = 0; i < ARRAY_SIZE(w->triggers); i++)
		cleanup_close(&w->triggers[i]);
	cleanup_close(&w->signals);
	cleanup_close(&w->epoll);
}

static json_t *make_summary(const struct watcher *w)
{
	return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "type", "summary", "op", "watch", "processes",
			 (json_int_t)w->sums.processes, "samples", (json_int_t)w->sums.samples, "reclaims",
			 (json_int_t)w->sums.reclaims, "entries", (json_int_t)w->sums.entries, "bytes",
			 (json_int_t)w->sums.bytes, "errors", (json_int_t)w->sums.errors);
}

int watch_run(struct run *run, const struct watch_options *options)
{
	struct watcher w = {.run = run, .options = options, .epoll = -1, .signals = -1, .triggers = {-1, -1, -1}};
	struct error error = {0};
	int rc = begin_watch(&w, &error);

	if (rc == 0) {
		notify_ready();
		loop_until_end(&w);
	}
	end_watch(&w);
	if (rc < 0)
		return run_failed(run, rc, &error);
	watch_emit(&w, make_summary(&w));
	return w.sums.errors ? EXIT_PARTIAL : EXIT_DONE;
}
