/* SPDX-License-Identifier: MIT */
/* reclaimctl resize: asks the program for a ring of another capacity; only it can give it one. */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "reclaimctl.h"

#define DEFAULT_MS 1000
#define LOOK_US    1000

/* What the program makes of a wish: pages are filled. */
static uint32_t rounded(const struct ring_found *ring, uint32_t capacity)
{
	uint64_t bytes = round_up(RING_ENTRIES + capacity * sizeof(struct ring_entry), page_size());

	return (uint32_t)min_u64((bytes - RING_ENTRIES) / sizeof(struct ring_entry), ring->view.max_capacity);
}

static int wait_until_done(const struct run *run, const struct ring_found *ring, uint64_t timeout_ms)
{
	uint64_t deadline = now_us() + timeout_ms * 1000;

	while (ring->view.shared->wanted) {
		if (!target_alive(&run->target))
			return -ESRCH;
		if (now_us() > deadline)
			return -ETIMEDOUT;
		usleep(LOOK_US);
	}
	return 0;
}

static int ask(struct run *run, struct ring_found *ring, uint32_t capacity, uint64_t timeout_ms)
{
	struct error error = {0};
	int rc = 0;

	if (ring->view.shared->capacity != rounded(ring, capacity)) {
		ring->view.shared->wanted = capacity;
		rc = wait_until_done(run, ring, timeout_ms);
	}
	if (rc == 0 && ring->view.shared->capacity != rounded(ring, capacity))
		rc = -EIO;
	if (rc == -ESRCH || rc == -EIO) {
		error_set(&error, rc, rc == -EIO ? "the program tried and could not" : "it has ended", NULL,
			  "resize the ring of process %d", run->target.pid);
		return run_failed(run, rc, &error);
	}
	report_record(run->report, ring_record(&run->target, ring));
	report_record(run->report, json_pack("{s:s, s:i, s:b}", "type", "summary", "pid", run->target.pid, "pending",
					     rc == -ETIMEDOUT));
	return rc == -ETIMEDOUT ? EXIT_PARTIAL : EXIT_DONE;
}

static int check_and_ask(struct run *run, struct ring_found *ring, int64_t capacity, int64_t timeout_ms)
{
	struct error error = {0};

	if (capacity > ring->view.max_capacity)
		return cli_usage_error(run->name, "%lld is more than the %u entries that this ring can ever have",
				       (long long)capacity, ring->view.max_capacity);
	if (!ring->open) {
		error_set(&error, -EBADF, "the program has closed the ring's descriptor",
			  "without it no ring is resized", "resize the ring of process %d", run->target.pid);
		return run_failed(run, -EBADF, &error);
	}
	return ask(run, ring, (uint32_t)capacity, (uint64_t)timeout_ms);
}

int verb_resize(int argc, const char **argv)
{
	_cleanup_run_ struct run run = RUN_NONE("reclaimctl resize");
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	_cleanup_operands_ char **operands = NULL;
	_cleanup_free_ char *timeout = NULL;
	const struct poptOption options[] = {
		{"timeout", 0, POPT_ARG_STRING, &timeout, 0, "how long to wait for the program (1000)", "MS"},
		POPT_TABLEEND,
	};
	const struct cli_popt_tool tool = {
		.name = "reclaimctl resize",
		.usage = "-p PID CAPACITY [OPTION...]",
		.about = "Asks a program to give its ring room for so many entries, which it does when it next enters "
			 "one.",
		.options = options,
		.takes = CLI_TAKES_PID,
		.operands = 1,
	};
	int64_t capacity, timeout_ms = DEFAULT_MS;
	int status;

	if (cli_popt_parse(&tool, argc, argv, &run.options, &operands, &status))
		return status;
	if (!operands[0])
		return cli_usage_error(run.name, "for how many entries? Give a capacity");
	if (number_parse(operands[0], 1, UINT32_MAX, &capacity) < 0)
		return cli_usage_error(run.name, "%s is not a capacity above 0", operands[0]);
	if (timeout && number_parse(timeout, 0, INT32_MAX, &timeout_ms) < 0)
		return cli_usage_error(run.name, "--timeout: %s is not a number of milliseconds", timeout);
	status = run_ring(&run, ring_columns, "ring", true, &ring);
	if (status != EXIT_DONE)
		return status;
	return run_finish(&run, check_and_ask(&run, &ring, capacity, timeout_ms));
}
