/* SPDX-License-Identifier: MIT */
/* addrspace diff: what differs between the memory of two processes. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "addrspace.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "clone/diff.h"

const struct report_column diff_columns[] = {
	{"start", "START", COLUMN_TEXT},   {"end", "END", COLUMN_TEXT}, {"bytes", "BYTES", COLUMN_SIZE},
	{"change", "CHANGE", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
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
	bool denied = rc == -EACCES || rc == -EPERM;

	if (rc == 0)
		return 0;
	return error_set(error, rc, rc == -ESRCH ? "it has ended" : NULL,
			 denied ? "run it as root or as the owner of the process" : NULL,
			 "look at the memory of process %d (%s)", target->pid, target->name);
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

/* The processes are operands; the frame of a verb takes the first one as if by -p. */
static int open_both(struct sides *sides, char **operands)
{
	struct error error = {0};
	int64_t pids[2];
	int status;
	int rc;

	if (!operands[0] || !operands[1])
		return cli_usage_error(sides->run->name, "which processes? Give two pids");
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		if (number_parse(operands[i], 1, INT_MAX, &pids[i]) < 0)
			return cli_usage_error(sides->run->name, "%s is no pid", operands[i]);
	if (pids[0] == pids[1])
		return cli_usage_error(sides->run->name, "that is twice the same process");
	sides->run->options.pid = (pid_t)pids[0];
	status = run_begin(sides->run);
	if (status != EXIT_DONE)
		return status;
	rc = target_open(&sides->b, (pid_t)pids[1], -1, &error);
	return rc < 0 ? run_failed(sides->run, rc, &error) : EXIT_DONE;
}

int verb_diff(struct run *run)
{
	struct sides sides = {.run = run, .b = TARGET_NONE};
	int status = open_both(&sides, run->operands);

	if (status == EXIT_DONE)
		status = diff_sides(&sides);
	target_close(&sides.b);
	return status;
}
