/* SPDX-License-Identifier: MIT */
/* Requests of clients, one a connection, answered by records and an "end". */
#include "worker/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "index/index.h"
#include "pager/job.h"
#include "pager/pager.h"
#include "pager/spaces.h"
#include "pager/target_fds.h"
#include "pager/writeback.h"
#include "protocol/request.h"
#include "report/report.h"
#include "service/failpoint.h"
#include "service/fdstore.h"
#include "swapin/behind.h"
#include "swapin/check.h"
#include "swapin/fill.h"
#include "swapin/filler.h"
#include "swapin/refaults.h"
#include "swapout/staging.h"
#include "swapout/swapout.h"
#include "swapout/watch.h"
#include "worker/status.h"

#define ANSWER_TIMEOUT_S 30
#define HOLD_MS          250  /* between looks whether the session has ended */
#define UNREGISTER_TRIES 5000 /* a millisecond apart */
#define DROP_MS          5000 /* for the supervisor to close what it holds */

/* One client. */
struct client {
	struct pager *pager;
	FILE *stream;
	const struct session_request *request;
	bool partial; /* what it asked for could not be done in full */
	bool enough;  /* it wants no more of what it asked for */
	bool gone;    /* it does not read any more; what it asked for is done all the same */
};

static void send_record(void *context, json_t *record)
{
	struct client *client = context;

	if (record && !client->gone) {
		client->gone = json_dumpf(record, client->stream, JSON_COMPACT) < 0 ||
			       fputc('\n', client->stream) == EOF || fflush(client->stream) == EOF;
	}
	json_decref(record);
}

/* Whether a client has said so, or something else has to be done now. */
static bool has_enough(void *context)
{
	struct client *client = context;
	char said;

	if (!client->enough && recv(fileno(client->stream), &said, 1, MSG_DONTWAIT) == 1 && said == REQUEST_ENOUGH)
		client->enough = true;
	return client->enough || atomic_load(&client->pager->serving.leaving);
}

/* Nothing leaves while everything is to stay. */
static bool out_has_enough(void *context)
{
	const struct client *client = context;

	return has_enough(context) || atomic_load(&client->pager->serving.holds);
}

static json_t *end_record(int rc, bool partial, const struct error *error)
{
	json_t *end = json_pack("{s:s,s:i,s:b}", "type", "end", "code", rc, "partial", partial);

	if (rc < 0)
		json_object_set_new(
			end, "error",
			json_pack("{s:s,s:s,s:s}", "tried", error->tried, "why", error->why, "hint", error->hint));
	return end;
}

/* What every summary begins with. */
static json_t *summary_of(const struct pager *pager, const char *op)
{
	return json_pack("{s:s,s:s,s:i,s:I}", "type", "summary", "op", op, "pid", pager->target.pid, "starttime",
			 (json_int_t)pager->target.starttime);
}

/* A debugger, or a command, needs everything in core. */
static int refuse_held(const struct pager *pager, struct error *error)
{
	pid_t tracer = atomic_load(&pager->tracer.pid);
	char why[96] = "it is kept in core for a command (swapctl in --for)";

	if (tracer)
		snprintf(why, sizeof(why), "it is being traced by process %d, and kept in core meanwhile", tracer);
	return error_set(error, -EBUSY, why, "try again after that", "swap out process %d", pager->target.pid);
}

/* Before anything is in the pool the target holds it for us. */
static int out_locked(struct pager *pager, const struct out_request *out, struct out_sums *sums, struct error *error)
{
	int rc = 0;

	if (atomic_load(&pager->ended) || pager->spaces[0].dead)
		return error_set(error, -ESRCH, "it has ended", NULL, "swap out process %d", pager->target.pid);
	if (atomic_load(&pager->serving.holds) && !out->dry_run)
		return refuse_held(pager, error);
	if (out->pool)
		rc = target_fds_give_pool(pager, error);
	return rc < 0 ? rc : out_run(pager, out, sums, error);
}

static int run_out(struct client *client, struct error *error)
{
	struct pager *pager = client->pager;
	struct out_request out = {
		.regions = client->request->regions ? *client->request->regions : (struct region_vec){0},
		.everything = !client->request->regions,
		.bytes = client->request->bytes,
		.dry_run = client->request->dry_run,
		.skip_unmapped = client->request->stage,
		/* A store in memory needs no pool before it. */
		.pool = client->request->stage && strcmp(index_header(pager->index)->session.store.path, "memory") != 0,
		.emit = send_record,
		.context = client,
		.asker = {out_has_enough, client},
	};
	struct out_sums sums = {0};
	uint64_t begin = now_us();
	json_t *summary;
	int rc;

	job_begin(pager);
	rc = out_locked(pager, &out, &sums, error);
	job_end(pager);
	client->partial = sums.partial;
	if (rc == -EINVAL) {
		json_decref(sums.reasons);
		return rc;
	}
	summary = summary_of(pager, "out");
	report_number(summary, "regions", sums.regions);
	report_number(summary, "asked_bytes", sums.asked);
	report_number(summary, out.dry_run ? "would_move_bytes" : "moved_bytes", sums.moved);
	report_number(summary, "stored_bytes", sums.stored);
	report_number(summary, "compressed_bytes", sums.compressed);
	report_number(summary, "zero_pages", sums.zero_pages);
	report_number(summary, "filled_pages", sums.filled_pages);
	report_number(summary, "skipped_bytes", sums.skipped);
	json_object_set_new(summary, "skipped", sums.reasons ? sums.reasons : json_object());
	report_number(summary, "time_us", now_us() - begin);
	send_record(client, summary);
	return rc;
}

static int bring_all(struct pager *pager, struct filler *filler, const struct region_vec *regions, uint64_t *brought)
{
	const struct asker *asker = filler->asker;

	for (size_t i = 0; i < regions->count && !asker->enough(asker->context); i++) {
		int64_t pages = fill_region(filler, &pager->spaces[0], regions->items[i]);

		if (pages < 0)
			return (int)pages;
		*brought += (uint64_t)pages;
	}
	return asker->enough(asker->context) ? -ECANCELED : 0;
}

/*
 * Pages that came back as what they can only be when the store has lost them: a SIGBUS for a thread that touches them.
 */
static uint64_t count_poisoned(const struct pager *pager)
{
	return index_header(pager->index)->session.counters.poisoned_pages;
}

/* Since `before` pages were poisoned, and since `begin` time has passed. */
static void emit_brought(struct client *client, const char *op, uint64_t brought, uint64_t before, uint64_t begin)
{
	json_t *summary = summary_of(client->pager, op);
	uint64_t poisoned = count_poisoned(client->pager) - before;

	report_number(summary, "brought_bytes", brought * page_size());
	report_number(summary, "poisoned_pages", poisoned);
	report_number(summary, "time_us", now_us() - begin);
	client->partial |= poisoned != 0;
	send_record(client, summary);
}

static int run_in(struct client *client, struct error *error)
{
	struct pager *pager = client->pager;
	struct region everything = {0, UINT64_MAX};
	struct region_vec all = {.items = &everything, .count = 1};
	uint64_t begin = now_us();
	uint64_t before = count_poisoned(pager);
	uint64_t brought = 0;
	struct asker asker = {has_enough, client};
	struct filler filler;
	int rc = filler_init(&filler, pager);

	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "swap in process %d", pager->target.pid);
	filler.asker = &asker;
	job_begin(pager);
	rc = bring_all(pager, &filler, client->request->regions ? client->request->regions : &all, &brought);
	behind_finish(pager); /* what it took in the stores is free when `in` is answered */
	if (pager->spaces[0].dead)
		rc = -ESRCH;
	job_end(pager);
	filler_free(&filler);
	if (rc == -ECANCELED)
		error_set(error, rc, "it was told to stop, or the session is to end", NULL, "swap in all of process %d",
			  pager->target.pid);
	else if (rc < 0)
		error_set(error, rc, rc == -ESRCH ? "it has ended" : "some pages could not be placed",
			  rc == -ESRCH ? NULL : "is the memory of its cgroup at its limit?", "swap in process %d",
			  pager->target.pid);
	emit_brought(client, "in", brought, before, begin);
	return rc;
}

/* Whether the client of a hold has gone. What it says is nothing to us. */
static bool has_gone(const struct client *client)
{
	struct pollfd fd = {.fd = fileno(client->stream), .events = POLLRDHUP};

	return poll(&fd, 1, HOLD_MS) > 0;
}

/* Everything back, and nothing out again before the client has gone. */
static int run_hold(struct client *client, struct error *error)
{
	struct pager *pager = client->pager;
	int rc;

	atomic_fetch_add(&pager->serving.holds, 1);
	rc = run_in(client, error);
	if (rc == 0)
		send_record(client, json_pack("{s:s}", "type", "held"));
	while (rc == 0 && !client->gone && !atomic_load(&pager->ended) && !has_gone(client))
		;
	atomic_fetch_sub(&pager->serving.holds, 1);
	return rc;
}

static int run_check(struct client *client, struct error *error)
{
	struct pager *pager = client->pager;
	uint64_t begin = now_us();
	struct check_sums sums;
	int rc = check_session(pager, send_record, client, &sums);
	json_t *summary;

	if (rc < 0)
		return error_set(error, rc, rc == -ESRCH ? "it has ended" : NULL, NULL, "check process %d",
				 pager->target.pid);
	summary = summary_of(pager, "check");
	report_number(summary, "out_pages", sums.entries);
	report_number(summary, "clusters", sums.clusters);
	report_number(summary, "records", sums.records);
	report_number(summary, "poisoned_pages", sums.poisoned_pages);
	report_number(summary, "errors", sums.errors);
	report_number(summary, "time_us", now_us() - begin);
	send_record(client, summary);
	return sums.errors ? error_set(error, -EUCLEAN, "there are errors in it", "the records say which",
				       "check the session of process %d", pager->target.pid)
			   : 0;
}

/* The first address space with pages out; INDEX_SPACES when, at this moment, there is none. */
static unsigned int find_out(struct pager *pager)
{
	unsigned int i = 0;

	pthread_mutex_lock(&pager->lock);
	while (i < INDEX_SPACES && (!pager->spaces[i].used || pager->spaces[i].dead || !index_count(pager->index, i)))
		i++;
	pthread_mutex_unlock(&pager->lock);
	return i;
}

/* Children fork meanwhile, and theirs have out what they had. */
static int bring_everywhere(struct pager *pager, struct filler *filler, uint64_t *brought)
{
	const struct region everything = {0, UINT64_MAX};
	unsigned int i;

	while ((i = find_out(pager)) < INDEX_SPACES) {
		int64_t pages = fill_region(filler, &pager->spaces[i], everything);

		if (pages < 0)
			return (int)pages;
		*brought += (uint64_t)pages;
	}
	return 0;
}

/* Nothing may stay registered with a descriptor that nobody reads: a child may hold a copy of it. */
static int unregister_everywhere(struct pager *pager)
{
	for (int i = 0; i < UNREGISTER_TRIES; i++) {
		bool done = pager->spaces[0].dead || space_unregister_all(pager);

		for (unsigned int child = 1; child < INDEX_SPACES; child++)
			done &= space_release(pager, &pager->spaces[child]);
		if (done)
			return 0;
		usleep(1000);
	}
	return -EBUSY;
}

static int detach_locked(struct pager *pager, struct filler *filler, uint64_t *brought, struct error *error)
{
	int rc = bring_everywhere(pager, filler, brought);

	if (rc < 0)
		return error_set(error, rc, "some pages could not be placed",
				 "is the memory of its cgroup at its limit?", "bring back the memory of process %d",
				 pager->target.pid);
	rc = unregister_everywhere(pager);
	if (rc < 0)
		return error_set(error, rc, "it changes its mappings all the time", "try again",
				 "unregister the memory of process %d", pager->target.pid);
	if (pager->spaces[0].dead)
		return 0;
	failpoint("detaching");
	target_fds_return(pager);
	/* The descriptor in the target goes last, when nothing is registered any more. */
	index_header(pager->index)->session.leaving = 1;
	rc = pager->access.ops ? staging_leave(pager, error) : 0;
	if (rc == 0 && pager->access.ops)
		rc = pager->access.ops->life.leave(&pager->access, error);
	failpoint("left");
	return rc == -ESRCH ? 0 : rc;
}

int control_detach(struct pager *pager, uint64_t *brought, struct error *error)
{
	struct filler filler;
	int rc = filler_init(&filler, pager);

	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "detach from process %d", pager->target.pid);
	atomic_fetch_add(&pager->serving.leaving, 1);
	job_begin(pager);
	if (!atomic_load(&pager->ended)) {
		rc = detach_locked(pager, &filler, brought, error);
		if (rc == 0)
			atomic_store(&pager->ended, ENDED_DETACHED);
	}
	job_end(pager);
	atomic_fetch_sub(&pager->serving.leaving, 1);
	filler_free(&filler);
	return rc;
}

/* The descriptors are closed everywhere before the client hears of it: what it looks at then is as it was. */
static void close_everywhere(struct pager *pager)
{
	struct pollfd answer = {.fd = pager->supervision.socket, .events = POLLIN};
	struct fdstore_message message = {.op = FDSTORE_DROP};
	int fd;

	for (unsigned int i = 0; i < INDEX_SPACES; i++)
		space_close(pager, &pager->spaces[i]);
	cleanup_close(&pager->staging.uffd);
	if (fdstore_send(pager->supervision.socket, &message, -1) == 0)
		while (poll(&answer, 1, DROP_MS) > 0 && fdstore_receive(pager->supervision.socket, &message, &fd) > 0)
			if (message.op == FDSTORE_DROPPED)
				return;
	pager_remove_files(pager); /* the supervisor is gone, or does not answer */
}

static int run_detach(struct client *client, struct error *error)
{
	struct pager *pager = client->pager;
	uint64_t before = count_poisoned(pager);
	uint64_t brought = 0;
	uint64_t begin = now_us();
	int rc = control_detach(pager, &brought, error);

	if (rc < 0)
		return rc;
	close_everywhere(pager);
	emit_brought(client, "detach", brought, before, begin);
	return 0;
}

/* Nobody waits for a client that neither takes its answers nor goes. One that watches holds up only itself. */
static int set_patience(int connection, bool watching)
{
	struct timeval answering = {.tv_sec = watching ? 0 : ANSWER_TIMEOUT_S};

	return setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &answering, sizeof(answering)) < 0 ? -errno : 0;
}

/* The pages go out, the client is told who touches them, and in the end the session goes. */
static int run_watch(struct client *client, struct error *error)
{
	struct error later = {0};
	struct watch_request watch = {
		.regions = client->request->regions ? *client->request->regions : (struct region_vec){0},
		.duration_ms = client->request->duration_ms,
		.again_ms = client->request->again_ms,
		.later = client->request->later,
		.resume_ns = client->request->resume_ns,
		.connection = fileno(client->stream),
		.emit = send_record,
		.context = client,
	};
	int rc_detach;
	int rc;

	if (!index_header(client->pager->index)->session.watched)
		return error_set(error, -EINVAL, "it was made to swap", "detach it first", "watch through the session");
	set_patience(watch.connection, true);
	rc = watch_run(client->pager, &watch, &client->partial, error);
	if (rc == -EBUSY)
		return rc;
	rc_detach = run_detach(client, &later);
	if (rc == 0 && rc_detach < 0) {
		*error = later;
		return rc_detach;
	}
	return rc;
}

static int run_writeback(struct client *client, struct error *error)
{
	struct pager *pager = client->pager;
	struct writeback writeback = {.age_ms = client->request->age_ms, .most = client->request->bytes};
	uint64_t begin = now_us();
	json_t *summary;
	int rc;

	job_begin(pager);
	rc = pool_writeback(pager, &writeback);
	job_end(pager);
	if (rc < 0)
		error_set(error, rc, rc == -ENOSPC ? "the store is full (its limit, or its file system)" : NULL,
			  "nothing is lost: what was staged stays in memory", "write staged pages of process %d back",
			  pager->target.pid);
	summary = summary_of(pager, "writeback");
	report_number(summary, "written_back_pages", writeback.pages);
	report_number(summary, "written_back_bytes", writeback.bytes);
	report_number(summary, "pool_bytes", writeback.left);
	report_number(summary, "oldest_ms", writeback.oldest_ms);
	report_number(summary, "time_us", now_us() - begin);
	send_record(client, summary);
	return rc;
}

static int run_status(struct client *client, struct error *error)
{
	(void)error;
	send_record(client, status_record(client->pager));
	return 0;
}

static int run_refaults(struct client *client, struct error *error)
{
	(void)error;
	send_record(client, refaults_record(client->pager, client->request->idle));
	return 0;
}

/* Each returns 0 or -errno with `error` filled. */
static int (*const run_verb[REQUEST_VERBS])(struct client *client, struct error *error) = {
	[REQUEST_STATUS] = run_status, [REQUEST_REFAULTS] = run_refaults, [REQUEST_OUT] = run_out,
	[REQUEST_IN] = run_in,         [REQUEST_HOLD] = run_hold,         [REQUEST_WATCH] = run_watch,
	[REQUEST_CHECK] = run_check,   [REQUEST_DETACH] = run_detach,     [REQUEST_WRITEBACK] = run_writeback,
};

bool control_may_ask(int connection)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

void control_refuse(int connection, const struct error *error)
{
	json_t *end = end_record(error->code, false, error);
	char *text = report_text(end, JSON_COMPACT);

	/* It has room for a line as long as nothing was sent, or it is not waited for. */
	if (text) {
		send(connection, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
		send(connection, "\n", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	free(text);
	json_decref(end);
}

void control_serve(struct pager *pager, int connection, const struct session_request *request)
{
	struct client client = {.pager = pager, .request = request};
	struct error error = {0};
	int rc;

	if (set_patience(connection, false) < 0 || !(client.stream = fdopen(connection, "w"))) {
		close(connection);
		return;
	}
	rc = run_verb[request->verb](&client, &error);
	send_record(&client, end_record(rc, client.partial, &error));
	fclose(client.stream);
}
