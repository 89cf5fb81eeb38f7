/* SPDX-License-Identifier: MIT */
/* --watch: pages out of the way, and a record for each one that is touched. */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cli/interrupt.h"
#include "report/input.h"
#include "session/session.h"
#include "touches.h"

#define RECONNECT_MS 5000   /* for another worker to be there */
#define LATE_US      100000 /* before the end, or … */
#define LATE_PART    10     /* … this part of the whole time */

struct watcher {
	const struct move_watch_options *options;
	const struct target *target;
	struct report *report;
	struct progress progress;
	struct region_vec *regions;
	struct touches touches;
	bool table;
	bool interval_open;
	uint64_t started_ns; /* as the session says; 0: not yet */
	uint64_t waited_before_ns, waited_ns;
	uint64_t round_waited_us; /* up to the last round */
	uint64_t ended_us;        /* since the watch began; 0: not known */
	uint64_t asked, moved, skipped, lost, rounds;
};

static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t connection = -1;

/* Asks the session to end what it does; it then brings everything back and says so. */
static void stop_session(int number)
{
	(void)number;
	interrupted = 1;
	if (connection >= 0)
		shutdown(connection, SHUT_WR);
}

/* What nobody reads need not go on. */
static int emit_record(void *context, json_t *record)
{
	struct watcher *w = context;
	int rc = report_record(w->report, record);

	if (rc && connection >= 0)
		shutdown(connection, SHUT_WR);
	return rc;
}

static void take_touches(struct watcher *w, const json_t *record)
{
	const json_t *list = json_object_get(record, "touches");
	const json_t *item;
	size_t index;

	touches_forget_mapping(&w->touches);
	json_array_foreach(list, index, item) {
		struct page_touch touch = {
			.address = (uint64_t)json_integer_value(json_array_get(item, 0)),
			.tid = (uint32_t)json_integer_value(json_array_get(item, 1)),
			.write = json_is_true(json_array_get(item, 2)),
			.out = json_is_true(json_array_get(item, 3)),
			.at_us = (uint64_t)json_integer_value(json_array_get(item, 4)),
		};
		json_t *told = touches_add(&w->touches, &touch);

		w->interval_open = true;
		if (w->table)
			json_decref(told); /* people get the sums at the end */
		else
			emit_record(w, told);
	}
	w->lost += input_number(record, "lost");
	progress_update(&w->progress, w->touches.bytes, w->moved);
}

/* By all threads together, since the watch began. */
static uint64_t waited_us(const struct watcher *w)
{
	return (w->waited_ns - w->waited_before_ns) / 1000;
}

static void take_round(struct watcher *w, uint64_t at_us)
{
	json_t *interval = touches_round(&w->touches, at_us, waited_us(w) - w->round_waited_us);

	w->round_waited_us = waited_us(w);
	w->rounds++;
	w->interval_open = false;
	if (w->table)
		json_decref(interval);
	else
		emit_record(w, interval);
}

static void take_region(struct watcher *w, json_t *record)
{
	struct region region;

	w->asked += input_number(record, "asked_bytes");
	w->moved += input_number(record, "moved_bytes");
	w->skipped += input_number(record, "skipped_bytes");
	if (w->options->later && input_region(record, &region))
		region_vec_insert(w->regions, region); /* for another worker; without it, the region is moved again */
	if (!w->table)
		emit_record(w, json_incref(record));
}

/* Since the watch began. */
static uint64_t elapsed_us(const struct watcher *w)
{
	return now_us() - w->started_ns / 1000;
}

/* At the start, and again with what the target has waited since. */
static void take_state(struct watcher *w, const json_t *record)
{
	w->waited_ns = input_number(record, "waited_ns");
	if (!w->started_ns)
		w->waited_before_ns = w->waited_ns;
	else
		w->ended_us = elapsed_us(w);
	w->started_ns = input_number(record, "started_ns");
}

static void take_session_record(void *context, json_t *record)
{
	struct watcher *w = context;
	const char *type = input_text(record, "type");

	if (strcmp(type, "touches") == 0)
		take_touches(w, record);
	else if (strcmp(type, "region") == 0)
		take_region(w, record);
	else if (strcmp(type, "error") == 0)
		emit_record(w, json_incref(record));
	else if (strcmp(type, "round") == 0)
		take_round(w, input_number(record, "at_us"));
	else if (strcmp(type, "watching") == 0)
		take_state(w, record);
	json_decref(record);
}

/* A session whose worker died has another one soon. Returns a socket or -errno. */
static int connect_again(const struct watcher *w, struct error *error)
{
	int fd = session_connect(w->target, error);

	for (int waited = 0; fd < 0 && waited < RECONNECT_MS && target_alive(w->target); waited += 10) {
		poll(NULL, 0, 10);
		fd = session_connect(w->target, error);
	}
	return fd;
}

/* One connection, from request to end. */
static int watch_once(struct watcher *w, struct error *error)
{
	const struct session_request request = {
		.verb = REQUEST_WATCH,
		.regions = w->regions,
		.later = w->options->later,
		.duration_ms = w->options->duration_ns / 1000000,
		.again_ms = w->options->again_ms,
		.resume_ns = w->started_ns,
	};
	int fd = connect_again(w, error);
	int rc;

	if (fd < 0)
		return fd;
	connection = fd;
	rc = interrupted ? -ECANCELED : session_exchange(w->target, dup(fd), &request, take_session_record, w, error);
	connection = -1;
	close(fd);
	return rc;
}

/* Ends a session that was not asked to watch any more, because a signal came first. */
static int give_up(const struct watcher *w, struct error *error)
{
	int rc = session_ask(w->target, &(struct session_request){.verb = REQUEST_DETACH}, session_ignore, NULL, error);

	return rc == -ENOENT ? 0 : rc;
}

static int watch_all(struct watcher *w, struct error *error)
{
	int rc;

	do
		rc = watch_once(w, error);
	while (rc == -ECONNRESET && w->started_ns && !interrupted && target_alive(w->target));
	if (rc < 0 && interrupted)
		rc = give_up(w, error);
	/* A target that ends takes its session along; there is nothing left to bring back. */
	return rc < 0 && w->started_ns && !target_alive(w->target) ? 0 : rc;
}

/*
 * Whether more would have been touched in a little more time: pages that nothing had touched before came up to the end.
 */
static bool is_unfinished(const struct watcher *w, const char *ended, uint64_t elapsed_us)
{
	const struct touches *t = &w->touches;
	uint64_t late = max_u64(elapsed_us / LATE_PART, LATE_US);

	return strcmp(ended, "target") != 0 && t->bytes && t->last_new_us + late >= elapsed_us;
}

/* What a table has no place for. */
static void say_unfinished(const struct watcher *w)
{
	char touched[SIZE_TEXT];
	char waited[32];

	snprintf(waited, sizeof(waited), "%.1f", (double)waited_us(w) / 1000000);
	fprintf(stderr,
		"uffd-move: the watch ended before the program did what it was doing: %s were touched, and more was "
		"being touched; its threads waited %s s for their pages (watch for longer)\n",
		size_format(touched, w->touches.bytes), waited);
}

static int summarize_watch(struct watcher *w, uint64_t elapsed)
{
	const struct touches *t = &w->touches;
	const char *ended = !target_alive(w->target) ? "target" : interrupted ? "signal" : "time";
	bool unfinished = is_unfinished(w, ended, elapsed);

	if (unfinished && w->table && !w->options->quiet)
		say_unfinished(w);
	return report_record(
		w->report, json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b}",
				     "type", "summary", "op", "watch", "pid", (int)w->target->pid, "starttime",
				     (json_int_t)w->target->starttime, "asked_bytes", (json_int_t)w->asked,
				     "moved_bytes", (json_int_t)w->moved, "skipped_bytes", (json_int_t)w->skipped,
				     "touches", (json_int_t)t->count, "touched_bytes", (json_int_t)t->bytes,
				     "fresh_bytes", (json_int_t)t->fresh_bytes, "lost_touches", (json_int_t)w->lost,
				     "rounds", (json_int_t)w->rounds, "watched_us", (json_int_t)elapsed, "waited_us",
				     (json_int_t)waited_us(w), "ended", ended, "unfinished", (int)unfinished));
}

static int run_session(struct watcher *w, bool *partial, struct error *error)
{
	const struct session_options session = {
		.store = "memory",
		.codec = {.codec = CODEC_NONE},
		.cluster_bytes = page_size(),
		.watch = true,
	};
	uint64_t elapsed;
	int rc = session_attach(w->target, &session, session_ignore, NULL, error);

	if (rc < 0)
		return rc;
	progress_begin(&w->progress, "touched", w->options->quiet);
	rc = watch_all(w, error);
	elapsed = w->ended_us ? w->ended_us : elapsed_us(w);
	progress_end(&w->progress);
	*partial = rc > 0 || w->lost;
	if (rc < 0)
		return rc;
	*error = (struct error){0};
	if (w->options->again_ms && w->interval_open)
		take_round(w, elapsed);
	rc = touches_emit(&w->touches, emit_record, w);
	return rc ? rc : summarize_watch(w, elapsed);
}

int watch_regions(const struct move_watch_options *options, const struct target *target, struct region_vec *regions,
		  struct report *report, bool *partial, struct error *error)
{
	struct watcher w = {.options = options,
			    .target = target,
			    .regions = regions,
			    .report = report,
			    .table = report_shows_table(report)};
	int rc = touches_init(&w.touches, target);

	if (rc < 0) {
		touches_free(&w.touches);
		return error_set(error, rc, rc == -ESRCH ? "it has ended" : NULL, NULL, "watch process %d",
				 target->pid);
	}
	interrupt_handle(stop_session, SA_RESTART);
	rc = run_session(&w, partial, error);
	touches_free(&w.touches);
	if (rc < 0 && !error->code)
		error_set(error, rc, NULL, NULL, "write records");
	return rc < 0 ? rc : 0;
}
