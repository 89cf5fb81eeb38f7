/* SPDX-License-Identifier: MIT */
/* reclaimctl flush: reclaims from the oldest end. */
#include <errno.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "reclaim/reclaimer.h"
#include "reclaimctl.h"

/* What is told when the thread runs again: printing takes longer than reclaiming. */
struct kept_entry {
	struct ring_work work;
	struct error error;
};

struct flush {
	struct run *run;
	struct reclaimer reclaimer;
	struct reclaim_done done;
	struct reclaim_limits limits;
	enum access_method access;
	struct kept_entry *kept;
	size_t count, room;
	bool lost; /* no memory to remember more */
};

static void keep_entry(void *context, const struct ring_work *work, const struct error *error)
{
	struct flush *flush = context;

	if (!error && !flush->run->options.verbose)
		return;
	if (array_reserve(&flush->kept, flush->count, &flush->room) < 0)
		flush->lost = true;
	else
		flush->kept[flush->count++] =
			(struct kept_entry){.work = *work, .error = error ? *error : (struct error){0}};
}

static void emit_reclaimed(struct flush *flush, const struct kept_entry *entry)
{
	const struct ring_work *work = &entry->work;
	struct region region = {work->address, work->address};
	json_t *record;

	if (entry->error.code) {
		record = error_record("reclaim", &entry->error);
		json_object_set_new(record, "pid", json_integer(flush->run->target.pid));
		ring_number(record, "id", work->id);
		json_object_set_new(record, "start", report_address(work->address));
		ring_number(record, "bytes", work->size);
	} else {
		ring_region(work, &region);
		record = entry_record(&flush->run->target, work, region);
		json_object_set_new(record, "state", json_string("reclaimed"));
	}
	report_record(flush->run->report, record);
}

static void summarize_flush(struct flush *flush, uint64_t before, uint64_t began_us)
{
	const struct reclaimer *reclaimer = &flush->reclaimer;
	uint64_t after = before;
	json_t *record = json_pack("{s:s, s:i}", "type", "summary", "pid", flush->run->target.pid);

	ring_number(record, "entries", flush->done.entries - flush->done.refused);
	ring_number(record, "bytes", flush->done.bytes);
	ring_number(record, "errors", flush->done.refused);
	target_status_bytes(&flush->run->target, "VmRSS", &after);
	ring_number(record, "freed_resident_bytes", before > after ? before - after : 0);
	ring_number(record, "left_entries", ring_entries(&reclaimer->ring.view));
	ring_number(record, "left_bytes", ring_bytes(&reclaimer->ring.view));
	if (reclaimer->access != ACCESS_AUTO)
		json_object_set_new(record, "access", json_string(access_name(reclaimer->access)));
	ring_number(record, "stops", reclaimer->inject.stops);
	ring_number(record, "longest_stop_us", reclaimer->inject.longest_us);
	ring_number(record, "time_us", now_us() - began_us);
	report_record(flush->run->report, record);
}

static int exit_code(const struct flush *flush, int rc)
{
	if (rc < 0 && flush->done.entries == 0)
		return exit_code_of(rc);
	return rc < 0 || flush->done.refused || flush->lost ? EXIT_PARTIAL : EXIT_DONE;
}

static int do_flush(struct flush *flush)
{
	struct error error = {0};
	uint64_t before = 0, began = now_us();
	int rc = reclaimer_open(&flush->reclaimer, &flush->run->target, flush->access, keep_entry, flush, &error);

	if (rc < 0)
		return run_failed(flush->run, rc, &error);
	target_status_bytes(&flush->run->target, "VmRSS", &before);
	rc = reclaimer_run(&flush->reclaimer, &flush->limits, &flush->done, &error);
	for (size_t i = 0; i < flush->count; i++)
		emit_reclaimed(flush, &flush->kept[i]);
	if (rc < 0)
		error_print(flush->run->name, &error);
	summarize_flush(flush, before, began);
	return exit_code(flush, rc);
}

static void flush_free(struct flush *flush)
{
	reclaimer_close(&flush->reclaimer);
	free(flush->kept);
}

static int flush_one(struct run *run)
{
	__attribute__((cleanup(flush_free))) struct flush flush = {.run = run, .reclaimer = RECLAIMER_NONE};
	const struct reclaimctl_values *values = run_values(run);
	const struct reclaim_limits *limits = &values->limits;

	flush.limits = (struct reclaim_limits){.entries = limits->entries ? limits->entries : RECLAIM_ALL,
					       .bytes = limits->bytes ? limits->bytes : RECLAIM_ALL};
	flush.access = values->access;
	return do_flush(&flush);
}

/* What is chosen by --all are all processes only when nothing else chooses them. */
int verb_flush(struct run *run)
{
	const struct reclaimctl_values *values = run_values(run);

	if (!!values->limits.entries + !!values->limits.bytes + values->all != 1)
		return cli_usage_error(run->name, "how much? Give one of -n, --bytes and --all");
	run->options.processes.all = values->all;
	return run_each_fitting(run, flush_one, ring_exists, NO_RINGS);
}
