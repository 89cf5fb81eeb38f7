/* SPDX-License-Identifier: MIT */
/* reclaimctl flush: reclaims from the oldest end. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "reclaimctl.h"
#include "ring/reclaimer.h"

/* What is told when the thread runs again: printing takes longer than reclaiming. */
struct told {
	struct ring_work work;
	struct error error;
};

struct flush {
	struct run run;
	struct reclaimer reclaimer;
	struct reclaim_done done;
	struct reclaim_wish wish;
	enum road_choice road;
	struct told *told;
	size_t count, room;
	bool lost; /* no memory to remember more */
};

static void keep(void *context, const struct ring_work *work, const struct error *error)
{
	struct flush *flush = context;

	if (!error && !flush->run.options.verbose)
		return;
	if (flush->count == flush->room) {
		size_t room = flush->room ? flush->room * 2 : 64;
		struct told *told = reallocarray(flush->told, room, sizeof(*told));

		if (!told) {
			flush->lost = true;
			return;
		}
		flush->told = told;
		flush->room = room;
	}
	flush->told[flush->count++] = (struct told){.work = *work, .error = error ? *error : (struct error){0}};
}

static void tell(struct flush *flush, const struct told *told)
{
	const struct ring_work *work = &told->work;
	struct region region = {work->address, work->address};
	json_t *record;

	if (told->error.code) {
		record = error_record("reclaim", &told->error);
		json_object_set_new(record, "pid", json_integer(flush->run.target.pid));
		json_object_set_new(record, "id", ring_number(work->id));
		json_object_set_new(record, "start", report_address(work->address));
		json_object_set_new(record, "bytes", ring_number(work->size));
	} else {
		ring_region(work, &region);
		record = entry_record(&flush->run.target, work, region);
		json_object_set_new(record, "state", json_string("reclaimed"));
	}
	report_record(flush->run.report, record);
}

static void summarize(struct flush *flush, uint64_t before, uint64_t began_us)
{
	const struct reclaimer *reclaimer = &flush->reclaimer;
	uint64_t after = before;
	json_t *record = json_pack("{s:s, s:i}", "type", "summary", "pid", flush->run.target.pid);

	json_object_set_new(record, "entries", ring_number(flush->done.entries - flush->done.refused));
	json_object_set_new(record, "bytes", ring_number(flush->done.bytes));
	json_object_set_new(record, "errors", ring_number(flush->done.refused));
	target_status(&flush->run.target, "VmRSS", &after);
	json_object_set_new(record, "freed_resident_bytes", ring_number(before > after ? (before - after) * KiB : 0));
	json_object_set_new(record, "left_entries", ring_number(ring_entries(&reclaimer->ring.view)));
	json_object_set_new(record, "left_bytes", ring_number(ring_bytes(&reclaimer->ring.view)));
	if (reclaimer->road != ROAD_AUTO)
		json_object_set_new(record, "road", json_string(road_name(reclaimer->road)));
	json_object_set_new(record, "stops", ring_number(reclaimer->inject.stops));
	json_object_set_new(record, "longest_stop_us", ring_number(reclaimer->inject.longest_us));
	json_object_set_new(record, "time_us", ring_number(now_us() - began_us));
	report_record(flush->run.report, record);
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
	int rc = reclaimer_open(&flush->reclaimer, &flush->run.target, flush->road, keep, flush, &error);

	if (rc < 0)
		return run_failed(&flush->run, rc, &error);
	target_status(&flush->run.target, "VmRSS", &before);
	rc = reclaimer_run(&flush->reclaimer, &flush->wish, &flush->done, &error);
	for (size_t i = 0; i < flush->count; i++)
		tell(flush, &flush->told[i]);
	if (rc < 0)
		error_print(flush->run.name, &error);
	summarize(flush, before, began);
	return exit_code(flush, rc);
}

static int parse_wish(struct flush *flush, const char *number, const char *bytes, const char *road, int all)
{
	struct reclaim_wish *wish = &flush->wish;
	int64_t entries;

	*wish = (struct reclaim_wish){RECLAIM_ALL, RECLAIM_ALL};
	if (!number + !bytes + !all != 2)
		return cli_usage_error(flush->run.name, "how much? Give one of -n, --bytes and --all");
	if (number && number_parse(number, 1, INT64_MAX, &entries) < 0)
		return cli_usage_error(flush->run.name, "-n: %s is not a number above 0", number);
	if (bytes && (size_parse(bytes, &wish->bytes) < 0 || !wish->bytes))
		return cli_usage_error(flush->run.name, "--bytes: %s is not a size above 0", bytes);
	if (road && (road_parse(road, &flush->road) < 0 || flush->road == ROAD_PUPPET))
		return cli_usage_error(flush->run.name, "--road: %s is none of auto, inject, agent", road);
	if (number)
		wish->entries = (uint64_t)entries;
	return EXIT_DONE;
}

static void flush_free(struct flush *flush)
{
	reclaimer_close(&flush->reclaimer);
	free(flush->told);
	run_close(&flush->run);
}

int verb_flush(int argc, const char **argv)
{
	__attribute__((cleanup(flush_free))) struct flush flush = {
		.run = RUN_NONE("reclaimctl flush"),
		.reclaimer = RECLAIMER_NONE,
	};
	_cleanup_free_ char *number = NULL, *bytes = NULL, *road = NULL;
	int all = 0;
	const struct poptOption options[] = {
		{"entries", 'n', POPT_ARG_STRING, &number, 0, "at least so many entries, oldest first", "N"},
		{"bytes", 0, POPT_ARG_STRING, &bytes, 0, "entries of at least so many bytes", "BYTES"},
		{"all", 0, POPT_ARG_NONE, &all, 0, "all that wait now", NULL},
		{"road", 0, POPT_ARG_STRING, &road, 0, "how to reach into it", "auto|inject|agent"},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "reclaimctl flush",
		.usage = "-p PID -n N|--bytes BYTES|--all [OPTION...]",
		.about = "Reclaims what waits in the ring of a process, oldest first.",
		.options = options,
		.takes = CLI_TAKES_PID,
	};
	int status;

	if (cli_popt_parse(&tool, argc, argv, &flush.run.options, NULL, &status))
		return status;
	status = parse_wish(&flush, number, bytes, road, all);
	if (status == EXIT_DONE)
		status = run_open(&flush.run, entry_columns, "region", false);
	if (status != EXIT_DONE)
		return status;
	return run_finish(&flush.run, do_flush(&flush));
}
