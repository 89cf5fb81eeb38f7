/* SPDX-License-Identifier: MIT */
/* addrspace diff: what differs between the memory of two processes. */
#include <errno.h>
#include <string.h>

#include "addrspace.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "clone/diff.h"
#include "proc/refusal.h"

const struct report_column diff_columns[] = {
	{"start", "START", COLUMN_ADDRESS}, {"end", "END", COLUMN_ADDRESS | COLUMN_WIDE},
	{"bytes", "BYTES", COLUMN_SIZE},    {"change", "CHANGE", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

struct sides {
	struct run *run; /* run->target is A */
	struct target b;
};

static int emit_difference(void *context, struct region region, enum diff_kind kind)
{
	const struct sides *sides = context;
	const struct target *a = &sides->run->target;
	json_t *record = report_region("region", a->pid, a->starttime, region.start, region.end);

	json_object_set_new(record, "change", json_string(diff_kind_name(kind)));
	report_number(record, "other_pid", (uint64_t)sides->b.pid);
	report_number(record, "other_starttime", sides->b.starttime);
	return report_record(sides->run->report, record);
}

static void summarize_diff(const struct sides *sides, const struct diff_sums *sums, uint64_t begun)
{
	const struct target *a = &sides->run->target;

	report_record(sides->run->report,
		      json_pack("{s:s, s:s, s:i, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "type", "summary",
				"op", "diff", "pid", (int)a->pid, "starttime", (json_int_t)a->starttime, "other_pid",
				(int)sides->b.pid, "other_starttime", (json_int_t)sides->b.starttime, "compared_bytes",
				(json_int_t)sums->compared_bytes, "read_bytes", (json_int_t)sums->read_bytes,
				"changed_bytes", (json_int_t)sums->bytes[DIFF_CHANGED], "only_in_a_bytes",
				(json_int_t)sums->bytes[DIFF_ONLY_A], "only_in_b_bytes",
				(json_int_t)sums->bytes[DIFF_ONLY_B], "unreadable_bytes",
				(json_int_t)sums->bytes[DIFF_UNREADABLE], "time_us", (json_int_t)(now_us() - begun)));
}

static int inspect_memory(struct memory *memory, const struct target *target, struct error *error)
{
	int rc = memory_open(memory, target);

	return rc == 0 ? 0 : refusal_to_look(target, rc, "look at the memory of", error);
}

static int diff_sides(struct sides *sides)
{
	_cleanup_memory_ struct memory a = MEMORY_NONE;
	_cleanup_memory_ struct memory b = MEMORY_NONE;
	struct error error = {0};
	struct diff_sums sums;
	uint64_t begun = now_us();
	int rc = inspect_memory(&a, &sides->run->target, &error);

	if (rc == 0)
		rc = inspect_memory(&b, &sides->b, &error);
	if (rc < 0)
		return run_failed(sides->run, rc, &error);
	rc = memory_diff(&a, &b, emit_difference, sides, &sums);
	if (rc == -EPIPE || rc == -EIO)
		return EXIT_FAILED;
	if (rc < 0) {
		error_set(&error, rc, rc == -ESRCH ? "one of them has ended" : NULL, NULL,
			  "compare processes %d and %d", sides->run->target.pid, sides->b.pid);
		return run_failed(sides->run, rc, &error);
	}
	summarize_diff(sides, &sums, begun);
	return sums.bytes[DIFF_UNREADABLE] ? EXIT_PARTIAL : EXIT_DONE;
}

/* The first one is the run's. Its processes are operands, whose order says which is which. */
static int open_both(struct sides *sides)
{
	const struct choices *choices = &sides->run->choices;
	struct error error = {0};
	int status;
	int rc;

	if (!cli_chooses_process(&sides->run->options))
		return cli_usage_error(sides->run->name, "which processes? Give two pids");
	status = run_report(sides->run);
	if (status == EXIT_DONE)
		status = run_choose(sides->run);
	if (status != EXIT_DONE)
		return status;
	if (choices->count != 2)
		return cli_usage_error(sides->run->name, "%s",
				       choices->count == 1 ? "that is twice the same process, or one: give two pids"
							   : "which processes? Give two pids");
	rc = choice_open(&choices->items[0], &sides->run->target, &error);
	if (rc == 0)
		rc = choice_open(&choices->items[1], &sides->b, &error);
	return rc < 0 ? run_failed(sides->run, rc, &error) : EXIT_DONE;
}

int verb_diff(struct run *run)
{
	struct sides sides = {.run = run, .b = TARGET_NONE};
	int status = open_both(&sides);

	if (status == EXIT_DONE)
		status = diff_sides(&sides);
	target_close(&sides.b);
	return status;
}
