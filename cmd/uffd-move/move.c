/* SPDX-License-Identifier: MIT */
/* The requests one after the other, a record for each. */
#include <errno.h>

#include "base/size.h"
#include "uffd-move.h"

/* One run over all requests. */
struct moving {
	const struct move_options *options;
	const struct target *target;
	struct report *report;
	struct mover mover;
	struct explainer explainer;
	struct progress progress;
	uint64_t total, passed; /* bytes */
	/* sums of the summary */
	uint64_t moved, holes, failed, errors, calls, time_us, longest_stop_us;
	bool partial;
	int first_failure; /* errno of the first pages that stayed */
};

static const char *method_name(enum move_method method)
{
	return method == MOVE_UFFD ? "move" : "mremap";
}

static uint64_t failed_bytes(const struct move_job *job)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < job->failure_count; i++)
		bytes += region_bytes(job->failures[i].source);
	return bytes;
}

static void add_up(struct moving *run, const struct move_job *job)
{
	run->moved += job->moved;
	run->holes += job->holes;
	run->failed += failed_bytes(job);
	run->errors += job->failure_count;
	run->calls += job->calls;
	run->time_us += job->time_us;
	run->longest_stop_us = max_u64(run->longest_stop_us, job->longest_stop_us);
	if (job->failure_count && !run->first_failure)
		run->first_failure = job->failures[0].code;
}

static int add_measures(const struct moving *run, json_t *record, const struct move_job *job)
{
	if (run->options->dry_run)
		return report_number(record, "would_move_bytes", job->moved);
	return report_number(record, "moved_bytes", job->moved) || report_number(record, "calls", job->calls) ||
	       report_number(record, "time_us", job->time_us) ||
	       report_number(record, "longest_stop_us", job->longest_stop_us);
}

/* `mapped`: the destination was made for it and stays. A dry run has none when it would be made. */
static int report_move(struct moving *run, const struct move_job *job, bool mapped)
{
	json_t *record =
		report_region("move", run->target->pid, run->target->starttime, job->source, job->source + job->bytes);
	int bad =
		!record || json_object_set_new(record, "src", report_address(job->source)) ||
		json_object_set_new(record, "dst", job->destination ? report_address(job->destination) : json_null()) ||
		json_object_set_new(record, "dst_mapped", json_boolean(mapped)) ||
		report_number(record, "hole_bytes", job->holes) ||
		report_number(record, "failed_bytes", failed_bytes(job)) ||
		json_object_set_new(record, "method", json_string(method_name(run->mover.method))) ||
		add_measures(run, record, job);

	if (bad) {
		json_decref(record);
		record = NULL;
	}
	return report_record(run->report, record);
}

static int report_failures(struct moving *run, const struct move_job *job)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < job->failure_count; i++)
		rc = report_record(run->report, explain_failure(&run->explainer, &job->failures[i]));
	return rc;
}

static int summarize_moves(struct moving *run)
{
	json_t *record = json_pack(
		"{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "type", "summary", "op",
		run->options->dry_run   ? "look"
		: run->options->reverse ? "reverse"
					: "move",
		"pid", (int)run->target->pid, "starttime", (json_int_t)run->target->starttime, "bytes",
		(json_int_t)run->total, run->options->dry_run ? "would_move_bytes" : "moved_bytes",
		(json_int_t)run->moved, "hole_bytes", (json_int_t)run->holes, "failed_bytes", (json_int_t)run->failed,
		"errors", (json_int_t)run->errors, "calls", (json_int_t)run->calls, "time_us", (json_int_t)run->time_us,
		"longest_stop_us", (json_int_t)run->longest_stop_us, "method", method_name(run->mover.method));

	return report_record(run->report, record);
}

/* A destination that nothing went to is taken away again. */
static int move_to_fresh(struct moving *run, struct move_job *job, bool *mapped, struct error *error)
{
	struct region source = {job->source, job->source + job->bytes};
	int rc = mover_map(&run->mover, source, &job->destination, error);

	if (rc)
		return rc;
	*mapped = true;
	rc = mover_run(&run->mover, job, error);
	if (!job->moved && rc != -ESRCH)
		*mapped =
			mover_unmap(&run->mover, (struct region){job->destination, job->destination + job->bytes}) != 0;
	return rc;
}

static int do_request(struct moving *run, const struct request *request, struct error *error)
{
	const struct move_options *options = run->options;
	struct move_job job = {
		.source = request->source.start,
		.destination = request->destination,
		.bytes = region_bytes(request->source),
		.allow_holes = options->allow_holes || options->reverse,
		.dont_wake = options->dont_wake,
		.make_exclusive = options->make_exclusive,
	};
	bool mapped = false;
	int rc, written;

	if (options->dry_run)
		rc = mover_inspect(&run->mover, &job, error);
	else if (request->destination || *run->mover.interrupted)
		rc = mover_run(&run->mover, &job, error);
	else
		rc = move_to_fresh(run, &job, &mapped, error);
	add_up(run, &job);
	/* What has moved is told even if the rest could not be tried. */
	written = rc && !job.calls ? 0 : report_move(run, &job, mapped);
	if (!written)
		written = report_failures(run, &job);
	move_job_free(&job);
	if (!rc && written)
		rc = error_set(error, written, NULL, NULL, "write records");
	return rc;
}

static int do_all(struct moving *run, const struct requests *requests, struct error *error)
{
	int rc = 0;

	for (size_t i = 0; i < requests->count; i++)
		run->total += region_bytes(requests->items[i].source);
	progress_begin(&run->progress, "moving", run->options->quiet);
	for (size_t i = 0; !rc && i < requests->count; i++) {
		rc = do_request(run, &requests->items[i], error);
		run->passed += region_bytes(requests->items[i].source);
		progress_update(&run->progress, run->passed, run->total);
	}
	progress_end(&run->progress);
	/* Where pages are left, the mapping that holds them stays too, and the records have said so. */
	for (size_t i = 0; !rc && !run->options->dry_run && i < requests->unmap.count; i++)
		mover_unmap(&run->mover, requests->unmap.items[i]);
	return rc;
}

int move_requests(const struct move_options *options, const struct requests *requests, const struct target *target,
		  struct report *report, const volatile sig_atomic_t *interrupted, bool *partial, struct error *error)
{
	struct moving run = {
		.options = options,
		.target = target,
		.report = report,
		.explainer = {.target = target,
			      .method = options->method,
			      .made_exclusive = options->make_exclusive,
			      .reverse = options->reverse},
	};
	int rc = mover_open(&run.mover, target, options->method, options->dry_run, error), closed;

	if (rc)
		return rc;
	run.mover.interrupted = interrupted;
	run.explainer.method = run.mover.method;
	rc = do_all(&run, requests, error);
	if (!rc && summarize_moves(&run))
		rc = error_set(error, -EIO, NULL, NULL, "write records");
	closed = mover_close(&run.mover);
	if (!rc && closed && closed != -ESRCH)
		rc = error_set(error, closed, "something of ours stays in it", NULL, "leave process %d", target->pid);
	*partial = run.failed != 0;
	if (!rc && run.failed && !run.moved)
		return run.first_failure;
	return rc;
}
